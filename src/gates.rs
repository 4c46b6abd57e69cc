//! The seven gates, judged from recordings: what a runtime must keep to, each with its samples, its percentiles and how
//! certain they are.
//!
//! Times are those of the recordings. A tick has one time, so what happens within one tick takes none here; what a tick
//! itself takes under load is what `cargo bench --bench fence` measures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rspp_adapters::recording::{Recording, missing};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, Signal};
use serde::Serialize;

use crate::drawing::{Part, Story};
use crate::percentile::{Percentile, Samples};

/// What calls show of the gates; calls add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    calls: u64,
    turns: u64,
    turn_open: Samples,
    first_output: Samples,
    own_share: Samples,
    fence: Samples,
    end_to_end: Samples,
    parts: BTreeMap<&'static str, Samples>,
    outputs_after_fence: u64,
    stale_outputs: u64,
    /// Turns without all of the baseline evidence, by what is missing.
    missing: BTreeMap<&'static str, u64>,
    incomplete: u64,
    wrong_ends: u64,
}

/// One gate, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// Its number.
    pub gate: u32,
    /// Its name.
    pub name: &'static str,
    /// What is asked.
    pub asks: String,
    /// How many samples there are: turns, cancellations or outputs.
    pub samples: usize,
    /// Of those that go by time.
    pub percentiles: Vec<Percentile>,
    /// How it was judged.
    pub verdict: Verdict,
    /// More, in words.
    pub detail: String,
}

/// How a gate was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Passed, with certainty where it goes by percentiles.
    Passed,
    /// What was seen passes, and there are too few samples to be certain.
    TooFewSamples,
    /// Nothing was seen.
    NoSamples,
    /// Failed.
    Failed,
}

impl Verdict {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::TooFewSamples => "too few samples",
            Verdict::NoSamples => "no samples",
            Verdict::Failed => "failed",
        }
    }
}

/// The gates of some calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gates {
    /// How many calls.
    pub calls: u64,
    /// How many turns were opened in them.
    pub turns: u64,
    /// The seven.
    pub gates: Vec<Gate>,
}

impl Evidence {
    /// Of one call.
    pub fn of(records: &[Record]) -> Self {
        let story = Story::of(records);
        let mut evidence = Self { calls: 1, ..Self::default() };
        let mut watch = Watch::default();
        for record in records {
            watch.take(record, &mut evidence);
        }
        watch.finish(&mut evidence);
        for turn in &story.turns {
            let Some(waits) = turn.waits else { continue };
            evidence.first_output.push(waits.to.since(turn.opened));
            evidence.own_share.push(waits.part(Part::Runtime));
            for part in Part::ALL {
                evidence.parts.entry(part.name()).or_default().push(waits.part(part));
            }
            if let Some(started) = turn.started {
                evidence.end_to_end.push(started.since(waits.from));
                evidence.parts.entry("transport").or_default().push(started.since(waits.to));
            }
        }
        evidence
    }

    /// Of one recorded call; of turns, what the recorder kept of them is judged as well.
    pub fn of_recording(recording: &Recording) -> Self {
        let mut evidence = Self::of(&recording.records);
        for kept in &recording.evidence {
            let missing = missing(kept);
            evidence.incomplete += u64::from(!missing.is_empty());
            for field in missing {
                *evidence.missing.entry(field).or_default() += 1;
            }
        }
        evidence
    }

    /// Adds what other calls show.
    pub fn add(&mut self, other: &Evidence) {
        self.calls += other.calls;
        self.turns += other.turns;
        self.turn_open.extend(&other.turn_open);
        self.first_output.extend(&other.first_output);
        self.own_share.extend(&other.own_share);
        self.fence.extend(&other.fence);
        self.end_to_end.extend(&other.end_to_end);
        for (part, samples) in &other.parts {
            self.parts.entry(part).or_default().extend(samples);
        }
        self.outputs_after_fence += other.outputs_after_fence;
        self.stale_outputs += other.stale_outputs;
        for (field, turns) in &other.missing {
            *self.missing.entry(field).or_default() += turns;
        }
        self.incomplete += other.incomplete;
        self.wrong_ends += other.wrong_ends;
    }

    /// Judges.
    pub fn gates(&self) -> Gates {
        let timed = |gate, name, samples: &Samples, limits: &[(u32, u64)], detail: String| {
            timed(gate, name, samples, limits, detail)
        };
        let own = self.own_share.percentile(99);
        let own = own.map_or_else(String::new, |own| format!("the runtime's own share: {own}"));
        let mut fence = timed(3, "cancel fence", &self.fence, &[(95, 150)], String::new());
        fence.detail = format!("{} outputs after a fence; 0 are allowed", self.outputs_after_fence);
        if self.outputs_after_fence > 0 {
            fence.verdict = Verdict::Failed;
        }
        let gates = vec![
            timed(1, "turn open", &self.turn_open, &[(95, 120)], "from the admission to the open turn".to_owned()),
            timed(2, "first output", &self.first_output, &[(95, 1_500)], own),
            fence,
            self.counted(4, "authority", "0 outputs without authority", self.stale_outputs, String::new()),
            self.counted(5, "evidence", "all baseline fields of every turn", self.incomplete, self.what_is_missing()),
            self.counted(6, "lifecycle", "one terminal, then a close, of every turn", self.wrong_ends, String::new()),
            timed(7, "end to end", &self.end_to_end, &[(50, 1_500), (95, 2_000)], self.decomposed()),
        ];
        Gates { calls: self.calls, turns: self.turns, gates }
    }

    fn counted(&self, gate: u32, name: &'static str, asks: &str, wrong: u64, detail: String) -> Gate {
        let verdict = match (wrong, self.turns) {
            (0, 0) => Verdict::NoSamples,
            (0, _) => Verdict::Passed,
            _ => Verdict::Failed,
        };
        let found = if wrong > 0 { format!("{wrong} found") } else { String::new() };
        let detail = [found, detail].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        Gate {
            gate,
            name,
            asks: asks.to_owned(),
            samples: self.turns as usize,
            percentiles: Vec::new(),
            verdict,
            detail,
        }
    }

    fn what_is_missing(&self) -> String {
        let missing = self.missing.iter().map(|(field, turns)| format!("{field} in {turns}"));
        missing.collect::<Vec<_>>().join(", ")
    }

    /// The medians of the parts.
    fn decomposed(&self) -> String {
        let parts =
            self.parts.iter().filter_map(|(part, samples)| Some(format!("{part} {}", samples.percentile(50)?.ms)));
        let parts = parts.collect::<Vec<_>>().join(", ");
        if parts.is_empty() { parts } else { format!("medians: {parts}") }
    }
}

fn timed(gate: u32, name: &'static str, samples: &Samples, limits: &[(u32, u64)], detail: String) -> Gate {
    let asks = limits.iter().map(|(percent, limit)| format!("p{percent} at most {limit} ms"));
    let judged = limits.iter().filter_map(|(percent, limit)| {
        let percentile = samples.percentile(*percent)?;
        let limit = *limit as f64;
        let verdict = match percentile.high_ms {
            _ if percentile.ms > limit => Verdict::Failed,
            Some(high) if high <= limit => Verdict::Passed,
            _ => Verdict::TooFewSamples,
        };
        Some((percentile, verdict))
    });
    let (percentiles, verdicts): (Vec<Percentile>, Vec<Verdict>) = judged.unzip();
    let worst = [Verdict::Failed, Verdict::TooFewSamples, Verdict::Passed];
    let verdict = worst.into_iter().find(|verdict| verdicts.contains(verdict)).unwrap_or(Verdict::NoSamples);
    Gate { gate, name, asks: asks.collect::<Vec<_>>().join(", "), samples: samples.len(), percentiles, verdict, detail }
}

/// One call as it goes by.
#[derive(Default)]
struct Watch {
    opened_as: Option<Opened>,
    admitted: Option<Micros>,
    turns: BTreeMap<TurnId, TurnWatch>,
    invoked_by: BTreeMap<InvocationId, TurnId>,
    settled: BTreeSet<InvocationId>,
    /// Writes that run whatever becomes of their turn, and of their session.
    committed: BTreeSet<std::sync::Arc<str>>,
    without_authority: bool,
    active: Option<TurnId>,
}

/// With what the session was opened.
struct Opened {
    plan: String,
    named: bool,
}

#[derive(Default)]
struct TurnWatch {
    admitted: bool,
    plan_known: bool,
    cancelled: Option<Micros>,
    fenced: Option<Micros>,
    terminals: u32,
    closes: u32,
    /// Something of the lifecycle came after the close, or a close came before the terminal.
    out_of_order: bool,
    invocations: Vec<InvocationId>,
}

impl Watch {
    fn take(&mut self, record: &Record, evidence: &mut Evidence) {
        match &record.entry {
            Entry::Input(_, Input::SessionOpen(open)) => {
                let named = !open.session.is_empty() && !open.plan.name().is_empty() && !open.plan.profile().is_empty();
                self.opened_as = Some(Opened { plan: open.plan.hash().to_string(), named });
            }
            Entry::Input(_, Input::AuthorityRevoked) => self.without_authority = true,
            Entry::Input(_, Input::Provider(id, rspp_specs::event::ProviderResult::End(_))) => {
                self.settled.insert(*id);
            }
            Entry::Input(..) => {}
            Entry::Signal(turn, signal) => self.take_signal(record.at, *turn, signal, evidence),
            Entry::Effect(effect) => self.take_effect(effect, evidence),
        }
    }

    fn take_signal(&mut self, at: Micros, turn: Option<TurnId>, signal: &Signal, evidence: &mut Evidence) {
        match (signal, turn) {
            (Signal::Admit, _) => self.admitted = Some(at),
            (Signal::DeauthorizedDrain, _) => self.without_authority = true,
            (Signal::LeaseMoved { .. }, _) => self.without_authority = false,
            (Signal::ToolCommitted { key }, _) => drop(self.committed.insert(std::sync::Arc::clone(key))),
            (Signal::TurnOpen { plan, .. }, Some(turn)) => {
                let admitted = self.admitted.take();
                let since = admitted.unwrap_or(at);
                evidence.turns += 1;
                evidence.turn_open.push(at.since(since));
                let plan_known = self.opened_as.as_ref().is_some_and(|opened| opened.plan == plan.to_string());
                let watch = TurnWatch { admitted: admitted.is_some(), plan_known, ..TurnWatch::default() };
                self.turns.insert(turn, watch);
                self.active = Some(turn);
            }
            (signal, Some(turn)) => {
                if let Some(watch) = self.turns.get_mut(&turn) {
                    watch.take(at, signal, evidence);
                }
            }
            _ => {}
        }
    }

    fn take_effect(&mut self, effect: &Effect, evidence: &mut Evidence) {
        match effect {
            Effect::Transmit { turn, .. } => {
                let cancelled = self.turns.get(turn).is_some_and(|watch| watch.cancelled.is_some());
                evidence.outputs_after_fence += u64::from(cancelled);
                evidence.stale_outputs += u64::from(self.without_authority);
            }
            Effect::Invoke { id, request, .. } => {
                let transcribes = matches!(request, rspp_specs::event::Request::Transcribe { .. });
                // That it runs is decided; the session may be over before it has ended.
                if matches!(request, rspp_specs::event::Request::Tool(tool) if self.committed.contains(&tool.key)) {
                    self.settled.insert(*id);
                }
                if let Some(turn) = self.active.filter(|_| !transcribes) {
                    self.invoked_by.insert(*id, turn);
                    if let Some(watch) = self.turns.get_mut(&turn) {
                        watch.invocations.push(*id);
                    }
                }
            }
            Effect::CancelInvocation { id } | Effect::EndInvocation { id } => {
                self.settled.insert(*id);
            }
            _ => {}
        }
    }

    fn finish(&self, evidence: &mut Evidence) {
        for watch in self.turns.values() {
            if watch.terminals != 1 || watch.closes != 1 || watch.out_of_order {
                evidence.wrong_ends += 1;
            }
            let named = self.opened_as.as_ref().is_some_and(|opened| opened.named);
            let lost = watch.invocations.iter().any(|id| !self.settled.contains(id));
            let fields = [
                ("session, pipeline or profile", !named),
                ("plan hash", !watch.plan_known),
                ("admission outcome", !watch.admitted),
                ("terminal", watch.terminals == 0),
                ("close time", watch.closes == 0),
                ("fence time", watch.cancelled.is_some() && watch.fenced.is_none()),
                ("an invocation's outcome", lost),
            ];
            let missing: Vec<&'static str> = fields.iter().filter(|(_, is)| *is).map(|(field, _)| *field).collect();
            evidence.incomplete += u64::from(!missing.is_empty());
            for field in missing {
                *evidence.missing.entry(field).or_default() += 1;
            }
        }
    }
}

impl TurnWatch {
    fn take(&mut self, at: Micros, signal: &Signal, evidence: &mut Evidence) {
        match signal {
            Signal::CancelAccepted { .. } => self.cancelled = Some(at),
            Signal::FenceApplied { .. } => {
                self.fenced = Some(at);
                if let Some(cancelled) = self.cancelled {
                    evidence.fence.push(at.since(cancelled));
                }
            }
            Signal::Commit | Signal::Abort { .. } => {
                self.out_of_order |= self.closes > 0;
                self.terminals += 1;
            }
            Signal::Close => {
                self.out_of_order |= self.terminals == 0;
                self.closes += 1;
            }
            _ => {}
        }
    }
}

impl Gates {
    /// Whether none has failed; and, if certainty is asked for, whether there are enough samples.
    pub fn pass(&self, strict: bool) -> bool {
        let fails = |gate: &Gate| match gate.verdict {
            Verdict::Failed => true,
            Verdict::TooFewSamples | Verdict::NoSamples => strict,
            Verdict::Passed => false,
        };
        !self.gates.iter().any(fails)
    }

    /// As a table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("{} calls, {} turns\n\n", self.calls, self.turns);
        text += "| gate | asks | samples | measured | verdict |\n| --- | --- | --- | --- | --- |\n";
        for gate in &self.gates {
            let measured: Vec<String> = gate.percentiles.iter().map(ToString::to_string).collect();
            let all = measured.into_iter().chain((!gate.detail.is_empty()).then(|| gate.detail.clone()));
            let measured = all.collect::<Vec<_>>().join("; ");
            let Gate { gate, name, asks, samples, verdict, .. } = gate;
            text += &format!("| {gate} {name} | {asks} | {samples} | {measured} | {} |\n", verdict.name());
        }
        text
    }
}

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} calls, {} turns\n", self.calls, self.turns)?;
        for gate in &self.gates {
            let Gate { gate, name, asks, samples, percentiles, verdict, detail } = gate;
            writeln!(f, "{gate} {name:<13} {:<16} {samples:>5} samples   {asks}", verdict.name())?;
            for percentile in percentiles {
                writeln!(f, "                  {percentile}")?;
            }
            if !detail.is_empty() {
                writeln!(f, "                  {detail}")?;
            }
        }
        Ok(())
    }
}
