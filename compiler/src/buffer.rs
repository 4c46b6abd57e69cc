//! Where something can wait, and how much: a buffer stands before a node that does not take everything at once, and nowhere
//! else (`F-043`, `F-143`, `F-148`).

use rspp_specs::buffer::{BufferSpec, FlowControl, Shed};
use rspp_specs::event::PortType;
use rspp_specs::limits::{FRAME_MS, MAX_EDGE_BLOCK_MS, MAX_EDGE_BYTES, MAX_EDGE_ITEMS, MAX_TEXT_BYTES};
use rspp_specs::plan::NodeKind;
use rspp_specs::time::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Collector;
use crate::graph::Vertex;
use crate::registry::Registry;
use crate::template::DraftEdge;

/// A buffer as it is written: what is left out has the default of the node that it stands before.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BufferDocument {
    /// So many items may wait.
    #[schemars(range(min = 1, max = 65_536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_items: Option<u32>,
    /// So many bytes may wait, 16 MiB at most.
    #[schemars(range(min = 1, max = 16_777_216))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    /// An item that has waited for more milliseconds is dropped.
    #[schemars(range(min = 1, max = 3_600_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_queue_ms: Option<u64>,
    /// So many milliseconds of audio may wait, by its media time.
    #[schemars(range(min = 1, max = 3_600_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_latency_ms: Option<u64>,
    /// What happens to more; `block` unless another is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<Strategy>,
    /// With `block`: above the high watermark the producer is blocked, and for no more milliseconds than these.
    #[schemars(range(min = 1, max = 60_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_block_ms: Option<u64>,
    /// With `block`: what happens to what comes all the same and does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Strategy>,
    /// With `sample`: one of so many is kept; 2 unless given.
    #[schemars(range(min = 2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_every: Option<u32>,
    /// At so many percent of the nearest bound it counts as filling up.
    #[schemars(range(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    high_percent: Option<u32>,
    /// At so many percent, or less, it counts as empty enough again.
    #[schemars(range(max = 99))]
    #[serde(skip_serializing_if = "Option::is_none")]
    low_percent: Option<u32>,
    /// With `block`: how the producer is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<FlowControl>,
}

/// What happens to what comes and does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    /// Before that, the producer is told to stop.
    Block,
    /// It is dropped.
    DropNewest,
    /// It is kept, and what has waited longest is dropped.
    DropOldest,
    /// It becomes one with the newest that waits, as text can; where that is impossible, it is dropped.
    Merge,
    /// It takes the place of what it supersedes.
    LatestOnly,
    /// From the high watermark on only one of so many is kept; at the bound, none.
    Sample,
}

/// What the schema says as numbers is what a plan may have.
const _: () = {
    assert!(MAX_EDGE_ITEMS == 65_536);
    assert!(MAX_EDGE_BYTES == 16_777_216);
    assert!(MAX_EDGE_BLOCK_MS == 60_000);
};

/// Whether what comes to a node may have to wait.
fn is_paced(kind: &NodeKind, registry: &Registry) -> bool {
    match kind {
        NodeKind::Llm { .. } | NodeKind::Tts { .. } | NodeKind::Playout(_) => true,
        NodeKind::Custom { type_name, .. } => registry.get(type_name).is_some_and(|known| known.paced),
        _ => false,
    }
}

/// Why what comes to a paced node may have to wait.
pub(crate) fn why(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Llm { .. } => "one question is answered after the other",
        NodeKind::Tts { .. } => "two sentences are spoken at a time",
        NodeKind::Playout(_) => "audio is sent by the clock",
        _ => "the node says when it takes more",
    }
}

/// What stands before a node unless the edge says otherwise, in every profile so far: bounded, blocking for a bounded time,
/// then shedding what does least harm.
fn default_of(kind: &NodeKind, port: PortType) -> BufferSpec {
    let text = BufferSpec {
        max_items: 256,
        max_bytes: MAX_TEXT_BYTES as u64,
        max_queue: None,
        max_latency: None,
        max_block: Some(Micros::from_ms(1_000)),
        shed: Shed::Merge,
        high_percent: 80,
        low_percent: 50,
        flow: FlowControl::Signal,
        defaulted: Vec::new(),
    };
    let audio = |max_latency: Micros| BufferSpec {
        max_items: (max_latency.as_ms() / FRAME_MS).saturating_mul(4).clamp(4, u64::from(MAX_EDGE_ITEMS)) as u32,
        max_bytes: MAX_EDGE_BYTES,
        max_latency: Some(max_latency),
        shed: Shed::DropNewest,
        ..text.clone()
    };
    match (kind, port) {
        // What waits here was spoken ahead of its time: it costs a voice nothing to pause for as long as that takes.
        (NodeKind::Playout(params), _) => BufferSpec {
            max_block: Some(Micros::from_ms(MAX_EDGE_BLOCK_MS)),
            low_percent: 70,
            ..audio(params.max_queued)
        },
        (_, PortType::Audio) => audio(Micros::from_ms(1_000)),
        (_, PortType::Transcript | PortType::Speech) => BufferSpec { shed: Shed::LatestOnly, ..text },
        (_, PortType::Text) => text,
        (_, PortType::Custom | PortType::Control | PortType::ToolCall | PortType::Any) => {
            BufferSpec { max_bytes: 16 * MAX_TEXT_BYTES as u64, shed: Shed::DropOldest, ..text }
        }
    }
}

impl BufferDocument {
    /// The buffer of an edge that ends at a node of this kind, and at a port of this type.
    fn spec(&self, kind: &NodeKind, port: PortType) -> BufferSpec {
        let default = default_of(kind, port);
        let mut defaulted = Vec::new();
        fn or<T>(defaulted: &mut Vec<String>, name: &str, given: Option<T>, default: T) -> T {
            given.unwrap_or_else(|| {
                defaulted.push(name.to_owned());
                default
            })
        }
        let ms = |given: Option<u64>| given.map(Micros::from_ms);
        let (max_block, shed) = self.strategy(&default, &mut defaulted);
        BufferSpec {
            max_items: or(&mut defaulted, "max_items", self.max_items, default.max_items),
            max_bytes: or(&mut defaulted, "max_bytes", self.max_bytes, default.max_bytes),
            max_queue: ms(self.max_queue_ms),
            max_latency: match ms(self.max_latency_ms) {
                None => default.max_latency.inspect(|_| defaulted.push("max_latency_ms".to_owned())),
                given => given,
            },
            max_block,
            shed,
            high_percent: or(&mut defaulted, "high_percent", self.high_percent, default.high_percent),
            low_percent: or(&mut defaulted, "low_percent", self.low_percent, default.low_percent),
            flow: or(&mut defaulted, "flow", self.flow, default.flow),
            defaulted,
        }
    }

    /// For how long the producer is blocked, and what is shed.
    fn strategy(&self, default: &BufferSpec, defaulted: &mut Vec<String>) -> (Option<Micros>, Shed) {
        let of = |word: Option<Strategy>| match word {
            Some(Strategy::DropNewest) => Shed::DropNewest,
            Some(Strategy::DropOldest) => Shed::DropOldest,
            Some(Strategy::Merge) => Shed::Merge,
            Some(Strategy::LatestOnly) => Shed::LatestOnly,
            Some(Strategy::Sample) => Shed::Sample { every: self.sample_every.unwrap_or(2) },
            Some(Strategy::Block) | None => default.shed,
        };
        if matches!(self.strategy, Some(word) if word != Strategy::Block) {
            return (None, of(self.strategy));
        }
        let given = [("strategy", self.strategy.is_some()), ("then", self.then.is_some())];
        let left_out = given.into_iter().chain([("max_block_ms", self.max_block_ms.is_some())]);
        defaulted.extend(left_out.filter(|(_, given)| !given).map(|(name, _)| name.to_owned()));
        (self.max_block_ms.map(Micros::from_ms).or(default.max_block), of(self.then))
    }

    /// Reports what contradicts itself.
    fn check(&self, findings: &mut Collector<'_>, edge: &DraftEdge, spec: &BufferSpec) {
        let mut report = |field: &str, message: &str, hint: &str| contradiction(findings, edge, field, message, hint);
        if spec.low_percent >= spec.high_percent {
            let message = format!("watermarks of {} and {} percent", spec.high_percent, spec.low_percent);
            report("high_percent", &message, "the low one is below the high one");
        }
        let blocks = matches!(self.strategy, None | Some(Strategy::Block));
        let of_blocking = [
            ("max_block_ms", self.max_block_ms.is_some()),
            ("then", self.then.is_some()),
            ("flow", self.flow.is_some()),
        ];
        for (field, _) in of_blocking.into_iter().filter(|(_, given)| *given && !blocks) {
            let hint = "write `strategy: block`, and what is shed in `then`; or leave it out";
            report(field, &format!("{field} is for a buffer that blocks, and this one does not"), hint);
        }
        if self.then == Some(Strategy::Block) {
            let hint = "one of drop_newest, drop_oldest, merge, latest_only, sample";
            report("then", "what is over is shed in the end, and not blocked again", hint);
        }
        let samples = [self.strategy, self.then].contains(&Some(Strategy::Sample));
        if self.sample_every.is_some() && !samples {
            report("sample_every", "sample_every is for a buffer that samples, and this one does not", "leave it out");
        }
    }
}

/// What may wait before a node; reports a buffer that makes no sense.
pub(crate) fn before(
    findings: &mut Collector<'_>,
    (from, to): (&Vertex, &Vertex),
    port: usize,
    edge: &DraftEdge,
    registry: &Registry,
) -> Option<BufferSpec> {
    let document = edge.rest.buffer.as_ref();
    if !is_paced(&to.kind, registry) {
        if document.is_some() {
            let message =
                format!("a buffer before {}, which takes everything at once: it would always be empty", to.name);
            let hint = "leave it out; buffers stand before llm, tts, playout and nodes that are registered as paced";
            findings.report_at("RSPP0023", edge.at("buffer"), format!("{}.buffer", edge.path), message, hint);
        }
        return None;
    }
    let written = document.is_some();
    let document = document.cloned().unwrap_or_default();
    let mut spec = document.spec(&to.kind, to.inputs[port].port_type);
    document.check(findings, edge, &spec);
    check_credit(findings, edge, &from.kind, spec.flow);
    if !written {
        spec.defaulted = vec!["all".to_owned()];
    }
    Some(spec)
}

/// Credit is counted in a provider's results, so each of them has to become one item of the edge.
fn check_credit(findings: &mut Collector<'_>, edge: &DraftEdge, from: &NodeKind, flow: FlowControl) {
    let streams = matches!(from, NodeKind::Llm { .. } | NodeKind::Tts { .. });
    if flow.grants() && (!streams || edge.rest.when.is_some()) {
        let message = "credit is counted in a provider's results, and here not each of them becomes an item";
        let hint =
            "use `flow: signal`; or let the edge come directly from a node of type llm or tts, without a condition";
        contradiction(findings, edge, "flow", message, hint);
    }
}

fn contradiction(findings: &mut Collector<'_>, edge: &DraftEdge, field: &str, message: &str, hint: &str) {
    let place = edge.at(&format!("buffer.{field}"));
    findings.report_at("RSPP0024", place, format!("{}.buffer.{field}", edge.path), message, hint);
}
