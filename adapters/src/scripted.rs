//! Scripted peers: providers that answer from a script, and a transport that plays in virtual time.

use std::collections::BTreeMap;

use rspp_specs::event::{AudioFrame, ProviderResult, Request, ToolCall, Transcript, Understanding, WordEnd};
use rspp_specs::ids::{InvocationId, UtteranceId};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Input};
use serde::Deserialize;

use crate::drive::{Peers, Schedule, Ticket};
use crate::transport::{MemoryTransport, TransportTimes};

/// What a scripted provider does in one invocation.
pub type Script = Vec<Step>;

/// One result of a scripted invocation, and when it comes: exactly one of `at_ms`, `after_ms`, `after_end_ms`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// In session time.
    #[serde(default)]
    pub at_ms: Option<u64>,
    /// Behind the invocation.
    #[serde(default)]
    pub after_ms: Option<u64>,
    /// Behind the end of what it is fed.
    #[serde(default)]
    pub after_end_ms: Option<u64>,
    /// It comes even if the invocation was cancelled, as results of real providers do.
    #[serde(default)]
    pub late: bool,
    /// A recogniser's partial words.
    #[serde(default)]
    pub partial: Option<String>,
    /// A recogniser's final words; `""` is an empty final.
    #[serde(rename = "final", default)]
    pub finally: Option<String>,
    /// A recogniser's final that nobody understood.
    #[serde(default)]
    pub rejected: bool,
    /// Media time up to which a transcript is complete; without it, all that was fed.
    #[serde(default)]
    pub watermark_ms: Option<u64>,
    /// A piece of a model's answer.
    #[serde(default)]
    pub text: Option<String>,
    /// A model's tool call.
    #[serde(default)]
    pub tool_call: Option<ScriptedToolCall>,
    /// Where words end: of each, its last character's place in the text, and milliseconds of the audio.
    #[serde(default)]
    pub word_ends_ms: Vec<(u32, u64)>,
    /// So much speech, as frames of 20 ms.
    #[serde(default)]
    pub audio_ms: Option<u64>,
    /// A tool's result.
    #[serde(default)]
    pub tool_result: Option<String>,
    /// How the invocation ends.
    #[serde(default)]
    pub end: Option<Outcome>,
}

/// A tool call in a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedToolCall {
    /// Its key.
    pub key: String,
    /// The tool.
    pub name: String,
    /// Arguments, as JSON text.
    #[serde(default)]
    pub arguments: String,
}

/// Why a script can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The pipeline asked for more than the scenario has a script for.
    #[error("{label}#{id} has no script: `providers.{label}` has {scripts} of them; add one", id = .id.0)]
    NoScript {
        /// Which kind of provider, or which tool.
        label: String,
        /// Which invocation.
        id: InvocationId,
        /// How many scripts there are.
        scripts: usize,
    },
    /// A step that says nothing, or too much.
    #[error("step {step} of `providers.{label}` script {script}: {what}")]
    BadStep {
        /// Which kind of provider, or which tool.
        label: String,
        /// Which of its scripts, from 1.
        script: usize,
        /// Which step, from 1.
        step: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Scripted providers and a scripted transport.
pub struct ScriptedPeers {
    scripts: BTreeMap<String, Vec<Script>>,
    used: BTreeMap<String, usize>,
    running: BTreeMap<InvocationId, Running>,
    cancelled: BTreeMap<InvocationId, Running>,
    transport: MemoryTransport,
}

#[derive(Debug)]
struct Running {
    label: String,
    script: usize,
    fed_until: Micros,
    /// Results that a cancellation takes back.
    pending: Vec<Ticket>,
    /// Results that only force takes back.
    late: Vec<Ticket>,
}

impl ScriptedPeers {
    /// From the scripts of each kind of provider (`stt`, `llm`, `tts`) and of each tool, in the order of invocation.
    pub fn new(scripts: BTreeMap<String, Vec<Script>>, times: TransportTimes) -> Self {
        let transport = MemoryTransport::new(times);
        Self { scripts, used: BTreeMap::new(), running: BTreeMap::new(), cancelled: BTreeMap::new(), transport }
    }

    fn start(
        &mut self,
        now: Micros,
        id: InvocationId,
        request: &Request,
        schedule: &mut Schedule,
    ) -> Result<(), ScriptError> {
        let (label, fed_until) = match request {
            Request::Transcribe { media_start, preroll } => {
                let length: u64 = preroll.iter().map(|frame| frame.duration().0).sum();
                ("stt".to_owned(), *media_start + Micros(length))
            }
            Request::Chat { .. } => ("llm".to_owned(), now),
            Request::Speak { .. } => ("tts".to_owned(), now),
            Request::Tool(call) => (call.name.to_string(), now),
        };
        let used = self.used.entry(label.clone()).or_default();
        let script = *used;
        *used += 1;
        let scripts = self.scripts.get(&label).map_or(0, Vec::len);
        if script >= scripts {
            return Err(ScriptError::NoScript { label, id, scripts });
        }
        self.running.insert(id, Running { label, script, fed_until, pending: Vec::new(), late: Vec::new() });
        self.schedule_steps(id, schedule, |step| {
            let after = step.after_ms.map(|after| now + Micros::from_ms(after));
            after.or(step.at_ms.map(Micros::from_ms)).map(|at| at.max(now))
        })
    }

    fn schedule_steps(
        &mut self,
        id: InvocationId,
        schedule: &mut Schedule,
        when: impl Fn(&Step) -> Option<Micros>,
    ) -> Result<(), ScriptError> {
        let Some(running) = self.running.get_mut(&id) else { return Ok(()) };
        let script = &self.scripts[&running.label][running.script];
        for (number, step) in (1..).zip(script) {
            let Some(at) = when(step) else { continue };
            let results = step.results(running.fed_until).map_err(|what| ScriptError::BadStep {
                label: running.label.clone(),
                script: running.script + 1,
                step: number,
                what,
            })?;
            for result in results {
                let ticket = schedule.put(at, Input::Provider(id, result));
                let tickets = if step.late { &mut running.late } else { &mut running.pending };
                tickets.push(ticket);
            }
        }
        Ok(())
    }
}

impl Step {
    fn results(&self, fed_until: Micros) -> Result<Vec<ProviderResult>, &'static str> {
        let times = [self.at_ms, self.after_ms, self.after_end_ms];
        if times.iter().flatten().count() != 1 {
            return Err("needs exactly one of at_ms, after_ms, after_end_ms");
        }
        let mut results = Vec::new();
        results.extend(self.transcript(fed_until).map(ProviderResult::Transcript));
        results.extend(self.text.as_deref().map(|text| ProviderResult::Text(text.into())));
        results.extend(self.tool_call.as_ref().map(|call| {
            let arguments = call.arguments.as_str().into();
            ProviderResult::ToolCall(ToolCall {
                key: call.key.as_str().into(),
                name: call.name.as_str().into(),
                arguments,
            })
        }));
        if !self.word_ends_ms.is_empty() {
            let end = |(chars, ms): &(u32, u64)| WordEnd { chars: *chars, samples: ms * 16 };
            results.push(ProviderResult::WordEnds(self.word_ends_ms.iter().map(end).collect()));
        }
        results.extend(speech(self.audio_ms.unwrap_or(0)).map(ProviderResult::Audio));
        results.extend(self.tool_result.as_deref().map(|content| ProviderResult::ToolResult(content.into())));
        results.extend(self.end.map(ProviderResult::End));
        if results.is_empty() { Err("says nothing") } else { Ok(results) }
    }

    fn transcript(&self, fed_until: Micros) -> Option<Transcript> {
        let (understanding, text) = match (&self.partial, &self.finally) {
            (Some(text), _) => (Understanding::Partial, text.as_str()),
            (None, Some(text)) if text.is_empty() => (Understanding::Empty, ""),
            (None, Some(text)) => (Understanding::Words, text.as_str()),
            (None, None) if self.rejected => (Understanding::Rejected, ""),
            (None, None) => return None,
        };
        let watermark = self.watermark_ms.map_or(fed_until, Micros::from_ms);
        Some(Transcript { utterance: UtteranceId(0), understanding, text: text.into(), watermark })
    }
}

/// Frames of 20 ms at 16 kHz, each told from the others by its samples.
fn speech(length_ms: u64) -> impl Iterator<Item = AudioFrame> {
    (1..=length_ms / 20).map(|frame| {
        let samples = (0..320).map(|sample| ((frame * 331 + sample * 7) % 20_000) as i16 - 10_000).collect();
        AudioFrame { samples, rate_hz: 16_000, spoken_by: None }
    })
}

impl Peers for ScriptedPeers {
    type Error = ScriptError;

    fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) -> Result<(), ScriptError> {
        match effect {
            Effect::Invoke { id, request, .. } => self.start(now, *id, request, schedule)?,
            Effect::Feed { id, frame } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.fed_until = running.fed_until + frame.duration();
                }
            }
            Effect::FeedEnd { id } => {
                self.schedule_steps(*id, schedule, |step| step.after_end_ms.map(|after| now + Micros::from_ms(after)))?;
            }
            Effect::CancelInvocation { id } => {
                if let Some(mut running) = self.running.remove(id) {
                    running.pending.drain(..).for_each(|ticket| schedule.take_back(ticket));
                    self.cancelled.insert(*id, running);
                }
            }
            Effect::EndInvocation { id } => {
                let late = self.cancelled.remove(id).into_iter().flat_map(|running| running.late);
                late.for_each(|ticket| schedule.take_back(ticket));
            }
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                self.transport.play(now, *turn, *epoch, *from_sample, frame, schedule);
            }
            Effect::ClearTransport { turn, epoch } => self.transport.clear(now, *turn, *epoch, schedule),
            // The schedule holds back what is not read.
            Effect::WakeAt { .. }
            | Effect::PauseInvocation { .. }
            | Effect::ResumeInvocation { .. }
            | Effect::GrantCredit { .. } => {}
        }
        Ok(())
    }
}
