//! A plan in words.

use std::fmt::Write;

use rspp_specs::budget::{BudgetOutcome, DegradeStep, TurnPart};
use rspp_specs::buffer::{BufferSpec, Shed};
use rspp_specs::data_class::DataClass;
use rspp_specs::event::ToolEffect;
use rspp_specs::plan::{
    Budget, Comparison, Lifetime, NodeKind, Plan, PlanEdge, RecordingLevel, RecordingPolicy, Redaction, SilencePolicy,
    Sink, TurnPolicy,
};
use rspp_specs::timeline::Prompt;

use crate::{buffer, fan_in};

/// Says what a plan does: its nodes in order, its edges and where something can wait, how it takes turns.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write_head(&mut text, plan);
    let _ = write_nodes(&mut text, plan);
    let _ = write_edges(&mut text, plan);
    let _ = write_turns(&mut text, plan);
    let _ = write_recording(&mut text, plan);
    let _ = write_first_audio(&mut text, plan);
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
        NodeKind::Resample(form) => format!("brings audio to {}", form.in_words()),
        NodeKind::Tts { binding } => format!("speaks by {binding}"),
        NodeKind::Playout(params) => format!(
            "hands audio to the transport {} ms ahead; holds up to {} s",
            params.lookahead,
            params.max_queued.as_ms() / 1_000
        ),
        NodeKind::Filter(params) => {
            let instead = if params.instead.is_empty() { "nothing" } else { params.instead.as_str() };
            format!("says {instead:?} in the place of a sentence with one of {} phrases", params.deny.len())
        }
        NodeKind::Vote => "passes on what most of its recognisers heard".to_owned(),
        NodeKind::Merge { .. } | NodeKind::Join { .. } | NodeKind::Select { .. } | NodeKind::Fallback { .. } => {
            fan_in::in_words(kind)
        }
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
        let buffer = match edge.buffer.as_deref() {
            Some(spec) => format!("{}; {}", in_words(spec), buffer::why(&to.kind)),
            None => "buffer: none (synchronous edge)".to_owned(),
        };
        let together = edge.sync.as_deref().map_or_else(String::new, |sync| {
            format!("; plays with group {} by {} ({})", sync.group.id, sync.group.domain, sync.on_drop.name())
        });
        writeln!(
            text,
            "  {}.{} -> {}.{} ({}){only}; {buffer}{together}",
            from.name,
            of.name,
            to.name,
            into.name,
            of.carries()
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

/// What is kept of a call, and what is done to it before.
fn write_recording(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let RecordingPolicy { level, sample, redaction } = plan.recording();
    let kept = match level {
        RecordingLevel::L0 => "control and decisions; of payloads, at most digests".to_owned(),
        RecordingLevel::L1 => format!(
            "control, decisions, finals, one of {} partial results and one of {} frames of audio",
            sample.partials_every, sample.audio_every
        ),
        RecordingLevel::L2 => "everything".to_owned(),
    };
    let share = match (level, sample.sessions_percent) {
        (RecordingLevel::L0, _) | (_, 100) => String::new(),
        (_, percent) => format!(", for {percent} of 100 sessions, the others at L0"),
    };
    writeln!(text, "\nA recording is made at {}{share}: {kept}.", level.name())?;
    let sink = Sink::Timeline(*level);
    let all = DataClass::ALL.into_iter().map(|class| (class, plan.recording().redaction(class, sink)));
    let done: Vec<String> = all
        .filter(|(_, action)| *action != Redaction::Allow)
        .map(|(class, action)| {
            let said = redaction.get(&class).is_some_and(|said| said.of(sink).is_some());
            let said = if said { "" } else { " (by default)" };
            format!("{} {}{said}", class.name(), action.name())
        })
        .collect();
    let done = if done.is_empty() { "nothing is taken out".to_owned() } else { done.join(", ") };
    writeln!(text, "Before it is written down: {done}.")?;
    for sink in [Sink::Telemetry, Sink::Replay] {
        let said = redaction.iter().filter_map(|(class, said)| Some((class, said.of(sink)?)));
        let said: Vec<String> = said.map(|(class, said)| format!("{} {}", class.name(), said.name())).collect();
        if !said.is_empty() {
            writeln!(text, "In {}: {}.", sink.name(), said.join(", "))?;
        }
    }
    Ok(())
}

/// The longest way from the caller's last word to the first audio, each part taking as long as it may.
fn write_first_audio(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let mut slowest: Vec<Option<Vec<(String, u64)>>> = Vec::new();
    for (index, node) in plan.indexed_nodes() {
        let before = plan.edges().iter().filter(|edge| edge.to == index);
        let before = before.filter_map(|edge| slowest[usize::from(edge.from.0)].as_ref()).max_by_key(|path| sum(path));
        let enters = matches!(node.kind, NodeKind::UserTurn).then(Vec::new);
        let mut path = before.cloned().or(enters);
        if let (Some(path), Some(_)) = (&mut path, node.kind.binding()) {
            path.push((node.name.clone(), node.provider.first_result.as_ms()));
        }
        slowest.push(path);
    }
    let Some(playout) = plan.find(|kind| matches!(kind, NodeKind::Playout(_))) else { return Ok(()) };
    let Some(answer) = slowest[usize::from(playout.0)].clone() else { return Ok(()) };
    let mut path = Vec::new();
    for node in plan.nodes() {
        match &node.kind {
            NodeKind::Vad(params) => {
                path.push((format!("{}, to be sure of the end", node.name), params.hangover.as_ms()));
            }
            NodeKind::Stt { .. } => {
                path.push((format!("{}, its final", node.name), node.provider.first_result.as_ms()));
            }
            _ => {}
        }
    }
    // Recognisers hear the caller at the same time.
    let recognisers: Vec<(String, u64)> =
        path.iter().filter(|(name, _)| name.ends_with("its final")).cloned().collect();
    let slowest_one = recognisers.into_iter().max_by_key(|(_, ms)| *ms);
    path.retain(|(name, _)| !name.ends_with("its final"));
    path.extend(slowest_one);
    path.extend(answer);
    let parts: Vec<String> = path.iter().map(|(name, ms)| format!("{ms} ms ({name})")).collect();
    writeln!(
        text,
        "\nWorst case from the caller's last word to the first audio: {} = {} ms.",
        parts.join(" + "),
        sum(&path)
    )?;
    let budget = plan.turn_policy().budgets.first_audio;
    let then = match budget.then {
        BudgetOutcome::Terminate => "the turn ends",
        BudgetOutcome::Degrade => "the turn gets by with less",
        BudgetOutcome::Continue | BudgetOutcome::Fallback => "it is said, and the turn goes on",
    };
    writeln!(
        text,
        "Tries again and elsewhere come on top; after {} ms of the turn without audio, {then}.",
        budget.limit
    )
}

fn sum(path: &[(String, u64)]) -> u64 {
    path.iter().map(|(_, ms)| ms).sum()
}

/// What may wait, what happens to more, and who said so.
fn in_words(spec: &BufferSpec) -> String {
    let mut text = format!("buffer: {} items, {} bytes", spec.max_items, spec.max_bytes);
    // Writing to a string can't fail.
    let _ = write_buffer(&mut text, spec);
    text
}

fn write_buffer(text: &mut String, spec: &BufferSpec) -> std::fmt::Result {
    if let Some(max_latency) = spec.max_latency {
        write!(text, ", {max_latency} ms of audio")?;
    }
    if let Some(max_queue) = spec.max_queue {
        write!(text, ", {max_queue} ms in queue")?;
    }
    if let Some(max_block) = spec.max_block {
        write!(text, "; blocks above {}% until {}%", spec.high_percent, spec.low_percent)?;
        write!(text, ", for {max_block} ms at most, by {}; then {}", spec.flow.name(), spec.shed.name())?;
    } else {
        write!(text, "; {}", spec.shed.name())?;
    }
    if let Shed::Sample { every } = spec.shed {
        write!(text, " (one of {every})")?;
    }
    match spec.defaulted.as_slice() {
        [] => Ok(()),
        defaulted => write!(text, " (by default: {})", defaulted.join(", ")),
    }
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
    writeln!(
        text,
        "Tools that write run once a turn is {} ms old and no interruption is pending.",
        policy.commit_point
    )?;
    write_unasked(text, policy)?;
    write_parts(text, plan)
}

/// What the agent says although nobody has spoken to it.
fn write_unasked(text: &mut String, policy: &TurnPolicy) -> std::fmt::Result {
    let says = |prompt: &Prompt| match prompt {
        Prompt::Say(words) => format!("\"{words}\" is said"),
        Prompt::Ask(remark) => format!("the model is asked: \"{remark}\""),
    };
    if let Some(greeting) = &policy.greeting {
        writeln!(text, "When the session begins, {}.", says(greeting))?;
    }
    if let Some(SilencePolicy { after, prompt, times, then_end }) = &policy.silence {
        let then = if *then_end { "then the session ends" } else { "then it waits for the caller" };
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        writeln!(text, "After {after} ms in which nobody speaks, {}; {times} at most, {then}.", says(prompt))?;
    }
    Ok(())
}

/// Budgets of parts of a turn, and the steps by which it gets by with less.
fn write_parts(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let policy = plan.turn_policy();
    let name = |node| &plan.node(node).name;
    for (node, _) in plan.indexed_nodes() {
        if let Some(budget) = policy.budgets.of_part(TurnPart::Node(node)) {
            write_part(text, &format!("{} owes an answer", name(node)), budget)?;
        }
    }
    for (path, budget) in &policy.budgets.paths {
        write_part(text, &format!("the way from {} to {} takes", name(path.from), name(path.to)), *budget)?;
    }
    for (edge, budget) in &policy.budgets.edges {
        write_part(text, &format!("something waits on {}", plan.name_of(plan.edge(*edge))), *budget)?;
    }
    for (place, step) in (1..).zip(&policy.degrade) {
        let says = match step {
            DegradeStep::Provider(node) => format!("{} calls its next provider", name(*node)),
            DegradeStep::Skip(node) => format!("{} is skipped", name(*node)),
            DegradeStep::Shorten { sentences, .. } => format!("{sentences} more sentences are said, and no more"),
        };
        writeln!(text, "A turn gets by with less, step {place}: {says}.")?;
    }
    Ok(())
}

fn write_part(text: &mut String, what: &str, budget: Budget) -> std::fmt::Result {
    let then = match budget.then {
        BudgetOutcome::Continue => "it is said",
        BudgetOutcome::Degrade => "the turn gets by with less",
        BudgetOutcome::Fallback => "the next provider is called",
        BudgetOutcome::Terminate => "the turn ends",
    };
    writeln!(text, "When {what} longer than {} ms, {then}.", budget.limit)
}
