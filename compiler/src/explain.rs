//! A plan in words.

use std::fmt::Write;

use rspp_specs::event::ToolEffect;
use rspp_specs::plan::{Comparison, Lifetime, NodeKind, Plan, PlanEdge};

/// Says what a plan does: its nodes in order, its edges and where something can wait, how it takes turns.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write_head(&mut text, plan);
    let _ = write_nodes(&mut text, plan);
    let _ = write_edges(&mut text, plan);
    let _ = write_turns(&mut text, plan);
    text
}

fn write_head(text: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(text, "{} version {}, profile {}, plan {}", plan.name(), plan.version(), plan.profile(), plan.hash())
}

fn write_nodes(text: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(text, "\nNodes, in topological order:")?;
    let width = plan.nodes().iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    for (index, node) in plan.indexed_nodes() {
        let lives = match node.lifetime {
            Lifetime::Session => "session",
            Lifetime::Turn => "turn",
        };
        writeln!(text, "  {:>2}  {:<width$}  {:<7}  {}", index.0, node.name, lives, what(&node.kind))?;
    }
    Ok(())
}

fn what(kind: &NodeKind) -> String {
    match kind {
        NodeKind::Caller => "the caller's audio enters".to_owned(),
        NodeKind::UserTurn => "what the caller said enters, once its turn is open".to_owned(),
        NodeKind::Vad(params) => format!(
            "finds speech ({:?}: onset at {} for {} frames) and its end (below {} for {} ms)",
            params.detector, params.onset_probability, params.onset_frames, params.release_probability, params.hangover
        )
        .to_lowercase(),
        NodeKind::Stt { binding, preroll } => {
            format!("recognises each utterance by {binding}, with {preroll} ms from before its onset")
        }
        NodeKind::Utterance(params) => format!(
            "joins the end of an utterance with its transcript and proposes a turn; \
             {} ms of speech that nobody understood propose one too",
            params.min_rejected_speech
        ),
        NodeKind::Llm { binding, tools, prompt } => {
            let prompted = prompt
                .as_ref()
                .map_or_else(String::new, |prompt| format!(", with a prompt of {} characters", prompt.chars().count()));
            let tools: Vec<String> =
                tools.iter().map(|tool| format!("{} ({})", tool.name, effect_name(tool.effect))).collect();
            let tools = if tools.is_empty() { String::new() } else { format!(", with tools {}", tools.join(", ")) };
            format!("answers by {binding}{prompted}{tools}")
        }
        NodeKind::Segmenter(params) => {
            format!("cuts the answer into sentences; words that wait for {} ms are spoken as they are", params.max_wait)
        }
        NodeKind::Tts { binding } => format!("speaks by {binding}"),
        NodeKind::Playout(params) => format!(
            "hands audio to the transport {} ms ahead; holds up to {} s",
            params.lookahead,
            params.max_queued.as_ms() / 1_000
        ),
        NodeKind::Merge => "passes on what its inputs bring, by cause, then port".to_owned(),
        NodeKind::Join => "waits for one item from each input".to_owned(),
        NodeKind::Custom { type_name, .. } => format!("runs {type_name}, a node from outside the tree"),
    }
}

fn effect_name(effect: ToolEffect) -> &'static str {
    match effect {
        ToolEffect::Read => "read",
        ToolEffect::Write => "write",
    }
}

fn write_edges(text: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(text, "\nEdges:")?;
    for edge in plan.edges() {
        let (from, to) = (plan.node(edge.from), plan.node(edge.to));
        let of = &from.outputs[usize::from(edge.from_port.0)];
        let into = &to.inputs[usize::from(edge.to_port.0)];
        let only = condition(edge);
        let buffer = match to.kind {
            NodeKind::Playout(_) => "waits in playout, within its bound",
            _ => "buffer: none (synchronous edge)",
        };
        writeln!(
            text,
            "  {}.{} -> {}.{} ({}){only}; {buffer}",
            from.name,
            of.name,
            to.name,
            into.name,
            of.port_type.name()
        )?;
    }
    let proposes = plan.find(|kind| matches!(kind, NodeKind::Utterance(_)));
    let opens = plan.find(|kind| matches!(kind, NodeKind::UserTurn));
    if let (Some(from), Some(to)) = (proposes, opens) {
        let (from, to) = (&plan.node(from).name, &plan.node(to).name);
        writeln!(text, "  {from} ~> {to}: a proposal, through the sequencer; the arbiter decides")?;
    }
    Ok(())
}

fn condition(edge: &PlanEdge) -> String {
    edge.when.as_ref().map_or_else(String::new, |when| {
        let is = match &when.is {
            Comparison::Equals(value) => format!("is {value}"),
            Comparison::Differs(value) => format!("is not {value}"),
            Comparison::AtLeast(bound) => format!("is at least {bound}"),
            Comparison::Below(bound) => format!("is below {bound}"),
        };
        format!(", when {} {is}", when.attribute)
    })
}

fn write_turns(text: &mut String, plan: &Plan) -> std::fmt::Result {
    use rspp_specs::plan::InterruptionPolicy::{Hold, Ignore, Immediate};
    let policy = plan.turn_policy();
    let interruption = match policy.interruption {
        Hold => "speech over an answer holds playout; words, or enough speech, cancel it; otherwise it goes on",
        Immediate => "speech over an answer cancels it",
        Ignore => "speech over an answer changes nothing",
    };
    writeln!(text, "\nTurns: {interruption}.")?;
    writeln!(text, "Tools that write run once a turn is {} ms old and no interruption is pending.", policy.commit_point)
}
