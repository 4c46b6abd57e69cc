//! Where something can wait, and how much: a buffer stands before a node that does not take everything at once, and nowhere
//! else (`F-043`, `F-143`, `F-148`).

use rspp_specs::buffer::{BufferSpec, FlowControl, Shed};
use rspp_specs::event::PortType;
use rspp_specs::limits::{FRAME_MS, MAX_EDGE_BLOCK_MS, MAX_EDGE_BYTES, MAX_EDGE_ITEMS, MAX_TEXT_BYTES};
use rspp_specs::plan::NodeKind;
use rspp_specs::time::Micros;
use serde::Deserialize;

use crate::finding::{Collector, Place};
use crate::registry::Registry;
use crate::template::DraftEdge;

/// A buffer as it is written: what is left out, the profile fills in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BufferDocument {
    max_items: Option<u32>,
    max_bytes: Option<u64>,
    max_queue_ms: Option<u64>,
    max_latency_ms: Option<u64>,
    strategy: Option<Word>,
    max_block_ms: Option<u64>,
    then: Option<Word>,
    sample_every: Option<u32>,
    high_percent: Option<u32>,
    low_percent: Option<u32>,
    flow: Option<FlowControl>,
}

/// A strategy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Block,
    DropNewest,
    DropOldest,
    Merge,
    LatestOnly,
    Sample,
}

/// The longest time in a queue, or in audio that waits: an hour.
const MAX_FIELD_MS: u64 = 3_600_000;

/// Whether what comes to a node may have to wait.
pub(crate) fn is_paced(kind: &NodeKind, registry: &Registry) -> bool {
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

/// What `simple/v1` puts before a node: bounded, blocking for a bounded time, then shedding what does least harm.
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
        (_, PortType::Custom | PortType::Any) => {
            BufferSpec { max_bytes: 16 * MAX_TEXT_BYTES as u64, shed: Shed::DropOldest, ..text }
        }
    }
}

impl BufferDocument {
    /// The buffer of an edge that ends at a node of this kind, and at a port of this type.
    pub(crate) fn spec(&self, kind: &NodeKind, port: PortType) -> BufferSpec {
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
        let of = |word: Option<Word>| match word {
            Some(Word::DropNewest) => Shed::DropNewest,
            Some(Word::DropOldest) => Shed::DropOldest,
            Some(Word::Merge) => Shed::Merge,
            Some(Word::LatestOnly) => Shed::LatestOnly,
            Some(Word::Sample) => Shed::Sample { every: self.sample_every.unwrap_or(2) },
            Some(Word::Block) | None => default.shed,
        };
        if matches!(self.strategy, Some(word) if word != Word::Block) {
            return (None, of(self.strategy));
        }
        let given = [("strategy", self.strategy.is_some()), ("then", self.then.is_some())];
        let left_out = given.into_iter().chain([("max_block_ms", self.max_block_ms.is_some())]);
        defaulted.extend(left_out.filter(|(_, given)| !given).map(|(name, _)| name.to_owned()));
        (self.max_block_ms.map(Micros::from_ms).or(default.max_block), of(self.then))
    }

    /// Reports what is out of bounds, and what contradicts itself.
    pub(crate) fn check(&self, findings: &mut Collector<'_>, place: &Place, path: &str, spec: &BufferSpec) {
        let mut report = |field: &str, message: &str, hint: String| {
            findings.report("RSPP0024", place.clone(), format!("{path}.buffer.{field}"), message, hint);
        };
        if !(1..=MAX_EDGE_ITEMS).contains(&spec.max_items) {
            report("max_items", "max_items is out of bounds", format!("from 1 to {MAX_EDGE_ITEMS} items"));
        }
        if !(1..=MAX_EDGE_BYTES).contains(&spec.max_bytes) {
            report("max_bytes", "max_bytes is out of bounds", format!("from 1 to {MAX_EDGE_BYTES} bytes"));
        }
        for (field, ms) in [("max_queue_ms", self.max_queue_ms), ("max_latency_ms", self.max_latency_ms)] {
            if ms.is_some_and(|ms| !(1..=MAX_FIELD_MS).contains(&ms)) {
                report(field, &format!("{field} is out of bounds"), "from 1 millisecond to an hour".to_owned());
            }
        }
        if self.max_block_ms.is_some_and(|ms| !(1..=MAX_EDGE_BLOCK_MS).contains(&ms)) {
            let hint = format!("from 1 to {MAX_EDGE_BLOCK_MS} milliseconds: no producer is blocked without end");
            report("max_block_ms", "max_block_ms is out of bounds", hint);
        }
        if !(1..=100).contains(&spec.high_percent) || spec.low_percent >= spec.high_percent {
            let message = format!("watermarks of {} and {} percent", spec.high_percent, spec.low_percent);
            let hint = "the low one is below the high one, and neither above 100".to_owned();
            report("high_percent", &message, hint);
        }
        self.check_strategy(&mut report);
    }

    fn check_strategy(&self, report: &mut impl FnMut(&str, &str, String)) {
        let blocks = matches!(self.strategy, None | Some(Word::Block));
        let of_blocking = [
            ("max_block_ms", self.max_block_ms.is_some()),
            ("then", self.then.is_some()),
            ("flow", self.flow.is_some()),
        ];
        for (field, _) in of_blocking.into_iter().filter(|(_, given)| *given && !blocks) {
            let hint = "write `strategy: block`, and what is shed in `then`; or leave it out".to_owned();
            report(field, &format!("{field} is for a buffer that blocks, and this one does not"), hint);
        }
        if self.then == Some(Word::Block) {
            let hint = "one of drop_newest, drop_oldest, merge, latest_only, sample".to_owned();
            report("then", "what is over is shed in the end, and not blocked again", hint);
        }
        let samples = [self.strategy, self.then].contains(&Some(Word::Sample));
        if self.sample_every.is_some_and(|every| every < 2) || (self.sample_every.is_some() && !samples) {
            let hint = "with `sample`: one of so many is kept, from 2 on".to_owned();
            report("sample_every", "sample_every makes no sense here", hint);
        }
    }
}

/// Credit is counted in a provider's results, so each of them has to become one item of the edge.
pub(crate) fn check_credit(findings: &mut Collector<'_>, edge: &DraftEdge, from: &NodeKind, flow: FlowControl) {
    let streams = matches!(from, NodeKind::Llm { .. } | NodeKind::Tts { .. });
    if flow.grants() && (!streams || edge.rest.when.is_some()) {
        let path = format!("edges: {}.buffer.flow", edge.arrow);
        let message = "credit is counted in a provider's results, and here not each of them becomes an item";
        let hint =
            "use `flow: signal`; or let the edge come directly from a node of type llm or tts, without a condition";
        findings.report("RSPP0024", edge.place.clone(), path, message, hint);
    }
}

/// Reports a buffer before a node that takes everything at once: it would always be empty.
pub(crate) fn refuse(findings: &mut Collector<'_>, place: &Place, path: &str, to: &str) {
    let message = format!("a buffer before {to}, which takes everything at once: it would always be empty");
    let hint = "leave it out; buffers stand before llm, tts, playout and nodes that are registered as paced";
    findings.report("RSPP0023", place.clone(), format!("{path}.buffer"), message, hint);
}
