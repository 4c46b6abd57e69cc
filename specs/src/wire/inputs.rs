//! Inputs, and what they share with effects: audio, transcripts, tool calls.

use std::sync::Arc;

use super::bounded::{MAX_RATE_HZ, no_longer, of_node, of_text, of_us, samples, to_node, to_text, to_us, within};
use super::generated as pb;
use super::words::Word;
use super::{MAX_PLAN_BYTES, Wire, WireError, known, required};
use crate::admission::{AdmissionSnapshot, Quota};
use crate::event::{AudioFrame, ProviderResult, ToolCall, Transcript, WordEnd};
use crate::ids::{InvocationId, LeaseEpoch, TurnId, UtteranceId};
use crate::limits::{MAX_CONTEXT_ENTRIES, MAX_FRAME_SAMPLES, MAX_SESSION_INVOCATIONS, MAX_UNIX_US, MAX_WORD_ENDS};
use crate::outcome::{AbortReason, CancelReason, CancelScope, Cancellation, Outcome};
use crate::plan::Plan;
use crate::recording::RecorderReport;
use crate::time::WallReading;
use crate::timeline::{
    AckOccasion, Confirmation, Derived, Input, Observation, Opener, PlayoutAck, Prompt, Resume, SessionOpen, Takeover,
    TimerKey, TurnProposal,
};

impl Wire for AudioFrame {
    type Message = pb::AudioFrame;

    fn to_wire(&self) -> Result<pb::AudioFrame, WireError> {
        let AudioFrame { samples, rate_hz, spoken_by } = self;
        no_longer("audio.samples", samples.len(), MAX_FRAME_SAMPLES)?;
        let (rate_hz, spoken_by) = (rate(*rate_hz)?, spoken_by.map(|id| id.0));
        // Sound has something at its beginning; this looks further only into silence.
        if samples.iter().all(|sample| *sample == 0) {
            let zeros = u32::try_from(samples.len()).expect("a frame has few samples");
            return Ok(pb::AudioFrame { samples_le16: Vec::new(), rate_hz, spoken_by, zeros });
        }
        let mut samples_le16 = vec![0; samples.len() * 2];
        for (pair, sample) in samples_le16.as_chunks_mut::<2>().0.iter_mut().zip(samples.iter()) {
            *pair = sample.to_le_bytes();
        }
        Ok(pb::AudioFrame { samples_le16, rate_hz, spoken_by, zeros: 0 })
    }

    fn of_wire(message: pb::AudioFrame) -> Result<Self, WireError> {
        let pb::AudioFrame { samples_le16, rate_hz, spoken_by, zeros } = message;
        let samples = samples_le16.len() / 2 + zeros as usize;
        no_longer("audio.samples", samples, MAX_FRAME_SAMPLES)?;
        let (pairs, rest) = samples_le16.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(WireError::HalfSample { bytes: samples_le16.len() });
        }
        let heard = pairs.iter().map(|pair| i16::from_le_bytes(*pair));
        let samples: Arc<[i16]> = heard.chain(std::iter::repeat_n(0, zeros as usize)).collect();
        Ok(AudioFrame { samples, rate_hz: rate(rate_hz)?, spoken_by: spoken_by.map(InvocationId) })
    }
}

/// A rate of zero would be divided by.
fn rate(rate_hz: u32) -> Result<u32, WireError> {
    if rate_hz == 0 {
        return Err(WireError::ZeroRate);
    }
    within("audio.rate_hz", u64::from(rate_hz), u64::from(MAX_RATE_HZ)).map(|_| rate_hz)
}

impl Wire for Transcript {
    type Message = pb::Transcript;

    fn to_wire(&self) -> Result<pb::Transcript, WireError> {
        let Transcript { utterance, understanding, text, watermark } = self;
        Ok(pb::Transcript {
            utterance: utterance.0,
            understanding: understanding.number(),
            text: to_text("transcript.text", text)?,
            watermark_us: to_us("transcript.watermark", *watermark)?,
        })
    }

    fn of_wire(message: pb::Transcript) -> Result<Self, WireError> {
        let pb::Transcript { utterance, understanding, text, watermark_us } = message;
        Ok(Transcript {
            utterance: UtteranceId(utterance),
            understanding: Word::of_number("transcript.understanding", understanding)?,
            text: of_text("transcript.text", &text)?,
            watermark: of_us("transcript.watermark", watermark_us)?,
        })
    }
}

impl Wire for ToolCall {
    type Message = pb::ToolCall;

    fn to_wire(&self) -> Result<pb::ToolCall, WireError> {
        let ToolCall { key, name, arguments } = self;
        Ok(pb::ToolCall {
            key: to_text("tool.key", key)?,
            name: to_text("tool.name", name)?,
            arguments: to_text("tool.arguments", arguments)?,
        })
    }

    fn of_wire(message: pb::ToolCall) -> Result<Self, WireError> {
        let pb::ToolCall { key, name, arguments } = message;
        Ok(ToolCall {
            key: of_text("tool.key", &key)?,
            name: of_text("tool.name", &name)?,
            arguments: of_text("tool.arguments", &arguments)?,
        })
    }
}

impl Wire for ProviderResult {
    type Message = pb::ProviderResult;

    fn to_wire(&self) -> Result<pb::ProviderResult, WireError> {
        use pb::provider_result::Kind;
        let kind = match self {
            ProviderResult::Transcript(transcript) => Kind::Transcript(transcript.to_wire()?),
            ProviderResult::Text(text) => Kind::Text(to_text("provider.text", text)?),
            ProviderResult::ToolCall(call) => Kind::ToolCall(call.to_wire()?),
            ProviderResult::Audio(frame) => Kind::Audio(frame.to_wire()?),
            ProviderResult::ToolResult(content) => Kind::ToolResult(to_text("provider.tool_result", content)?),
            ProviderResult::End(outcome) => Kind::End(outcome.number()),
            ProviderResult::WordEnds(ends) => Kind::WordEnds(to_word_ends(ends)?),
        };
        Ok(pb::ProviderResult { kind: Some(kind) })
    }

    fn of_wire(message: pb::ProviderResult) -> Result<Self, WireError> {
        use pb::provider_result::Kind;
        Ok(match known("provider.result", message.kind)? {
            Kind::Transcript(transcript) => ProviderResult::Transcript(Transcript::of_wire(transcript)?),
            Kind::Text(text) => ProviderResult::Text(of_text("provider.text", &text)?),
            Kind::ToolCall(call) => ProviderResult::ToolCall(ToolCall::of_wire(call)?),
            Kind::Audio(frame) => ProviderResult::Audio(AudioFrame::of_wire(frame)?),
            Kind::ToolResult(content) => ProviderResult::ToolResult(of_text("provider.tool_result", &content)?),
            Kind::End(outcome) => ProviderResult::End(Outcome::of_number("provider.end", outcome)?),
            Kind::WordEnds(ends) => ProviderResult::WordEnds(of_word_ends(&ends)?),
        })
    }
}

fn to_word_ends(ends: &[WordEnd]) -> Result<pb::WordEnds, WireError> {
    no_longer("provider.word_ends", ends.len(), MAX_WORD_ENDS)?;
    let place = |end: &WordEnd| samples("provider.word_ends.samples", end.samples);
    let samples = ends.iter().map(place).collect::<Result<_, _>>()?;
    Ok(pb::WordEnds { chars: ends.iter().map(|end| end.chars).collect(), samples })
}

/// Of a word that stands in one of the two lists alone, nothing is known.
fn of_word_ends(message: &pb::WordEnds) -> Result<Arc<[WordEnd]>, WireError> {
    no_longer("provider.word_ends", message.chars.len(), MAX_WORD_ENDS)?;
    let pairs = message.chars.iter().zip(&message.samples);
    let end = |(chars, place): (&u32, &u64)| {
        Ok(WordEnd { chars: *chars, samples: samples("provider.word_ends.samples", *place)? })
    };
    pairs.map(end).collect()
}

impl Wire for RecorderReport {
    type Message = pb::RecorderReport;

    fn to_wire(&self) -> Result<pb::RecorderReport, WireError> {
        use pb::recorder_report::Report;
        let report = match self {
            RecorderReport::Relaxed => Report::Relaxed(pb::Nothing {}),
            RecorderReport::Strained => Report::Strained(pb::Nothing {}),
            RecorderReport::Overloaded => Report::Overloaded(pb::Nothing {}),
            RecorderReport::NoEvidence => Report::NoEvidence(pb::Nothing {}),
            RecorderReport::Asked(level) => Report::Asked(level.number()),
        };
        Ok(pb::RecorderReport { report: Some(report) })
    }

    fn of_wire(message: pb::RecorderReport) -> Result<Self, WireError> {
        use pb::recorder_report::Report;
        Ok(match known("recorder", message.report)? {
            Report::Relaxed(pb::Nothing {}) => RecorderReport::Relaxed,
            Report::Strained(pb::Nothing {}) => RecorderReport::Strained,
            Report::Overloaded(pb::Nothing {}) => RecorderReport::Overloaded,
            Report::NoEvidence(pb::Nothing {}) => RecorderReport::NoEvidence,
            Report::Asked(level) => RecorderReport::Asked(Word::of_number("recorder.asked", level)?),
        })
    }
}

impl Wire for SessionOpen {
    type Message = pb::SessionOpen;

    fn to_wire(&self) -> Result<pb::SessionOpen, WireError> {
        let SessionOpen { session, plan, resume, epoch, fairness_key, recording } = self;
        let plan_json = serde_json::to_vec(plan).map_err(|error| WireError::Plan { detail: error.to_string() })?;
        no_longer("session_open.plan", plan_json.len(), MAX_PLAN_BYTES)?;
        Ok(pb::SessionOpen {
            session: to_text("session_open.session", session)?,
            plan_json,
            plan_hash: to_text("session_open.plan_hash", &plan.hash().0)?,
            resume: Some(resume.to_wire()?),
            epoch: epoch.0,
            fairness_key: to_text("session_open.fairness_key", fairness_key)?,
            recording: recording.map(Word::number),
        })
    }

    fn of_wire(message: pb::SessionOpen) -> Result<Self, WireError> {
        let pb::SessionOpen { session, plan_json, plan_hash, resume, epoch, fairness_key, recording } = message;
        no_longer("session_open.plan", plan_json.len(), MAX_PLAN_BYTES)?;
        let plan: Plan =
            serde_json::from_slice(&plan_json).map_err(|error| WireError::Plan { detail: error.to_string() })?;
        if *plan.hash().0 != *plan_hash {
            let detail = format!("it hashes to {} and not to the {plan_hash:?} that stands beside it", plan.hash());
            return Err(WireError::Plan { detail });
        }
        Ok(SessionOpen {
            session: of_text("session_open.session", &session)?,
            plan: Arc::new(plan),
            resume: Resume::of_wire(resume.unwrap_or_default())?,
            epoch: LeaseEpoch(epoch),
            recording: recording.map(|level| Word::of_number("session_open.recording", level)).transpose()?,
            fairness_key: of_text("session_open.fairness_key", &fairness_key)?,
        })
    }
}

impl Wire for Resume {
    type Message = pb::Resume;

    fn to_wire(&self) -> Result<pb::Resume, WireError> {
        let Resume { turns, invocations, ticks, sequence, generations, clears, context } = self;
        no_longer("resume.context", context.len(), MAX_CONTEXT_ENTRIES)?;
        Ok(pb::Resume {
            turns: *turns,
            invocations: *invocations,
            ticks: *ticks,
            sequence: *sequence,
            generations: *generations,
            clears: *clears,
            context: context.iter().map(Wire::to_wire).collect::<Result<_, _>>()?,
        })
    }

    fn of_wire(message: pb::Resume) -> Result<Self, WireError> {
        let pb::Resume { turns, invocations, ticks, sequence, generations, clears, context } = message;
        no_longer("resume.context", context.len(), MAX_CONTEXT_ENTRIES)?;
        let context = context.into_iter().map(Wire::of_wire).collect::<Result<_, _>>()?;
        Ok(Resume { turns, invocations, ticks, sequence, generations, clears, context })
    }
}

impl Wire for Takeover {
    type Message = pb::Takeover;

    fn to_wire(&self) -> Result<pb::Takeover, WireError> {
        let Takeover { epoch, lost } = self;
        no_longer("takeover.lost", lost.len(), MAX_SESSION_INVOCATIONS)?;
        Ok(pb::Takeover { epoch: epoch.0, lost: lost.iter().map(|id| id.0).collect() })
    }

    fn of_wire(message: pb::Takeover) -> Result<Self, WireError> {
        let pb::Takeover { epoch, lost } = message;
        no_longer("takeover.lost", lost.len(), MAX_SESSION_INVOCATIONS)?;
        Ok(Takeover { epoch: LeaseEpoch(epoch), lost: lost.into_iter().map(InvocationId).collect() })
    }
}

impl Wire for AdmissionSnapshot {
    type Message = pb::AdmissionSnapshot;

    fn to_wire(&self) -> Result<pb::AdmissionSnapshot, WireError> {
        use pb::admission_snapshot::Quota as Kind;
        let AdmissionSnapshot { version, form, epoch, quota } = *self;
        let quota = match quota {
            Quota::Available => Kind::Available(pb::Nothing {}),
            Quota::Deferred { retry_after } => Kind::DeferredUs(to_us("admission.retry_after", retry_after)?),
            Quota::Exhausted => Kind::Exhausted(pb::Nothing {}),
            Quota::Shedding => Kind::Shedding(pb::Nothing {}),
        };
        Ok(pb::AdmissionSnapshot { version, form, epoch: epoch.0, quota: Some(quota) })
    }

    fn of_wire(message: pb::AdmissionSnapshot) -> Result<Self, WireError> {
        use pb::admission_snapshot::Quota as Kind;
        let pb::AdmissionSnapshot { version, form, epoch, quota } = message;
        let quota = match known("admission.quota", quota)? {
            Kind::Available(pb::Nothing {}) => Quota::Available,
            Kind::DeferredUs(after) => Quota::Deferred { retry_after: of_us("admission.retry_after", after)? },
            Kind::Exhausted(pb::Nothing {}) => Quota::Exhausted,
            Kind::Shedding(pb::Nothing {}) => Quota::Shedding,
        };
        Ok(AdmissionSnapshot { version, form, epoch: LeaseEpoch(epoch), quota })
    }
}

impl Wire for Cancellation {
    type Message = pb::Cancellation;

    fn to_wire(&self) -> Result<pb::Cancellation, WireError> {
        use pb::cancellation::Of;
        let Cancellation { reason, of, soft } = *self;
        let of = match of {
            CancelScope::Turn => Of::Turn(pb::Nothing {}),
            CancelScope::Session => Of::Session(pb::Nothing {}),
            CancelScope::Node(node) => Of::Node(to_node("cancel.node", node)?),
            CancelScope::Invocation(id) => Of::Invocation(id.0),
        };
        Ok(pb::Cancellation { reason: reason.number(), of: Some(of), soft })
    }

    fn of_wire(message: pb::Cancellation) -> Result<Self, WireError> {
        use pb::cancellation::Of;
        let pb::Cancellation { reason, of, soft } = message;
        let of = match known("cancel.of", of)? {
            Of::Turn(pb::Nothing {}) => CancelScope::Turn,
            Of::Session(pb::Nothing {}) => CancelScope::Session,
            Of::Node(node) => CancelScope::Node(of_node("cancel.node", node)?),
            Of::Invocation(id) => CancelScope::Invocation(InvocationId(id)),
        };
        Ok(Cancellation { reason: CancelReason::of_number("cancel.reason", reason)?, of, soft })
    }
}

impl Wire for PlayoutAck {
    type Message = pb::PlayoutAck;

    fn to_wire(&self) -> Result<pb::PlayoutAck, WireError> {
        let PlayoutAck { turn, heard_samples, occasion } = self;
        Ok(pb::PlayoutAck {
            turn: turn.0,
            heard_samples: samples("playout_ack.heard_samples", *heard_samples)?,
            occasion: occasion.number(),
        })
    }

    fn of_wire(message: pb::PlayoutAck) -> Result<Self, WireError> {
        let pb::PlayoutAck { turn, heard_samples, occasion } = message;
        Ok(PlayoutAck {
            turn: TurnId(turn),
            heard_samples: samples("playout_ack.heard_samples", heard_samples)?,
            occasion: AckOccasion::of_number("playout_ack.occasion", occasion)?,
        })
    }
}

impl Wire for Observation {
    type Message = pb::Observation;

    fn to_wire(&self) -> Result<pb::Observation, WireError> {
        use pb::observation::Kind;
        let kind = match *self {
            Observation::Onset { new_utterance } => Kind::Onset(pb::Onset { new_utterance }),
            Observation::Sustained => Kind::Sustained(pb::Nothing {}),
            Observation::Pause => Kind::Pause(pb::Nothing {}),
            Observation::Words => Kind::Words(pb::Nothing {}),
            Observation::Backchannel => Kind::Backchannel(pb::Nothing {}),
        };
        Ok(pb::Observation { kind: Some(kind) })
    }

    fn of_wire(message: pb::Observation) -> Result<Self, WireError> {
        use pb::observation::Kind;
        Ok(match known("observed", message.kind)? {
            Kind::Onset(pb::Onset { new_utterance }) => Observation::Onset { new_utterance },
            Kind::Sustained(pb::Nothing {}) => Observation::Sustained,
            Kind::Pause(pb::Nothing {}) => Observation::Pause,
            Kind::Words(pb::Nothing {}) => Observation::Words,
            Kind::Backchannel(pb::Nothing {}) => Observation::Backchannel,
        })
    }
}

/// Who has a turn opened: nothing where it is the caller, as in everything that was written before others could.
pub(super) fn to_opener(opener: Opener) -> Option<i32> {
    (!opener.is_caller()).then(|| opener.number())
}

pub(super) fn of_opener(field: &'static str, opener: Option<i32>) -> Result<Opener, WireError> {
    opener.map_or(Ok(Opener::Caller), |opener| Opener::of_number(field, opener))
}

impl Wire for TurnProposal {
    type Message = pb::TurnProposal;

    fn to_wire(&self) -> Result<pb::TurnProposal, WireError> {
        let TurnProposal { text, opener, understood, speech_end, backchannel, waits_since } = self;
        Ok(pb::TurnProposal {
            text: to_text("proposal.text", text)?,
            opener: to_opener(*opener),
            understood: *understood,
            speech_end_us: speech_end.map(|at| to_us("proposal.speech_end", at)).transpose()?,
            backchannel: *backchannel,
            waits_since_us: waits_since.map(|at| to_us("proposal.waits_since", at)).transpose()?,
        })
    }

    fn of_wire(message: pb::TurnProposal) -> Result<Self, WireError> {
        let pb::TurnProposal { text, understood, speech_end_us, backchannel, waits_since_us, opener } = message;
        Ok(TurnProposal {
            text: of_text("proposal.text", &text)?,
            opener: of_opener("proposal.opener", opener)?,
            understood,
            speech_end: speech_end_us.map(|at| of_us("proposal.speech_end", at)).transpose()?,
            backchannel,
            waits_since: waits_since_us.map(|at| of_us("proposal.waits_since", at)).transpose()?,
        })
    }
}

impl Wire for Prompt {
    type Message = pb::Prompt;

    fn to_wire(&self) -> Result<pb::Prompt, WireError> {
        use pb::prompt::Kind;
        let kind = match self {
            Prompt::Say(text) => Kind::Say(to_text("prompt.say", text)?),
            Prompt::Ask(text) => Kind::Ask(to_text("prompt.ask", text)?),
        };
        Ok(pb::Prompt { kind: Some(kind) })
    }

    fn of_wire(message: pb::Prompt) -> Result<Self, WireError> {
        use pb::prompt::Kind;
        Ok(match known("prompt", message.kind)? {
            Kind::Say(text) => Prompt::Say(of_text("prompt.say", &text)?),
            Kind::Ask(text) => Prompt::Ask(of_text("prompt.ask", &text)?),
        })
    }
}

impl Wire for Derived {
    type Message = pb::Derived;

    fn to_wire(&self) -> Result<pb::Derived, WireError> {
        use pb::derived::Kind;
        let kind = match self {
            Derived::TurnOpenProposed(proposal) => Kind::TurnOpenProposed(proposal.to_wire()?),
            Derived::InterruptionProposed(turn) => Kind::InterruptionProposed(turn.0),
            Derived::InterruptionConfirmed(turn, by) => {
                Kind::InterruptionConfirmed(pb::InterruptionConfirmed { turn: turn.0, by: by.number() })
            }
            Derived::InterruptionDismissed(turn) => Kind::InterruptionDismissed(turn.0),
            Derived::PlaybackCut(turn) => Kind::PlaybackCut(turn.0),
            Derived::NodeLost(turn, node) => {
                Kind::NodeLost(pb::NodeLost { turn: turn.0, node: to_node("derived.node", *node)? })
            }
            Derived::TurnFailed(turn, reason) => {
                Kind::TurnFailed(pb::TurnFailed { turn: turn.0, reason: reason.number() })
            }
        };
        Ok(pb::Derived { kind: Some(kind) })
    }

    fn of_wire(message: pb::Derived) -> Result<Self, WireError> {
        use pb::derived::Kind;
        Ok(match known("derived", message.kind)? {
            Kind::TurnOpenProposed(proposal) => Derived::TurnOpenProposed(TurnProposal::of_wire(proposal)?),
            Kind::InterruptionProposed(turn) => Derived::InterruptionProposed(TurnId(turn)),
            Kind::InterruptionConfirmed(pb::InterruptionConfirmed { turn, by }) => {
                Derived::InterruptionConfirmed(TurnId(turn), Confirmation::of_number("derived.by", by)?)
            }
            Kind::InterruptionDismissed(turn) => Derived::InterruptionDismissed(TurnId(turn)),
            Kind::PlaybackCut(turn) => Derived::PlaybackCut(TurnId(turn)),
            Kind::NodeLost(pb::NodeLost { turn, node }) => {
                Derived::NodeLost(TurnId(turn), of_node("derived.node", node)?)
            }
            Kind::TurnFailed(pb::TurnFailed { turn, reason }) => {
                Derived::TurnFailed(TurnId(turn), AbortReason::of_number("derived.reason", reason)?)
            }
        })
    }
}

impl Wire for TimerKey {
    type Message = pb::TimerKey;

    fn to_wire(&self) -> Result<pb::TimerKey, WireError> {
        use pb::timer_key::Kind;
        let kind = match *self {
            TimerKey::Node(node) => Kind::Node(to_node("timer.node", node)?),
            TimerKey::CommitPoint(turn) => Kind::CommitPoint(turn.0),
            TimerKey::PlayoutAckWait(turn) => Kind::PlayoutAckWait(turn.0),
            TimerKey::Result(id) => Kind::Result(id.0),
            TimerKey::Retry(id) => Kind::Retry(id.0),
            TimerKey::Budget(turn, budget) => {
                Kind::Budget(pb::TurnBudgetTimer { turn: turn.0, budget: budget.number() })
            }
            TimerKey::Part(turn, part) => Kind::Part(pb::TurnPartTimer { turn: turn.0, part: Some(part.to_wire()?) }),
            TimerKey::Reconnect => Kind::Reconnect(pb::Nothing {}),
            TimerKey::Hold(turn) => Kind::Hold(turn.0),
            TimerKey::CancelGrace(turn) => Kind::CancelGrace(turn.0),
            TimerKey::Buffers(node) => Kind::Buffers(to_node("timer.buffers", node)?),
            TimerKey::Deferred => Kind::Deferred(pb::Nothing {}),
            TimerKey::NodeStart(node) => Kind::NodeStart(to_node("timer.node_start", node)?),
            TimerKey::Silence => Kind::Silence(pb::Nothing {}),
        };
        Ok(pb::TimerKey { kind: Some(kind) })
    }

    fn of_wire(message: pb::TimerKey) -> Result<Self, WireError> {
        use pb::timer_key::Kind;
        Ok(match known("timer", message.kind)? {
            Kind::Node(node) => TimerKey::Node(of_node("timer.node", node)?),
            Kind::CommitPoint(turn) => TimerKey::CommitPoint(TurnId(turn)),
            Kind::PlayoutAckWait(turn) => TimerKey::PlayoutAckWait(TurnId(turn)),
            Kind::Result(id) => TimerKey::Result(InvocationId(id)),
            Kind::Retry(id) => TimerKey::Retry(InvocationId(id)),
            Kind::Budget(pb::TurnBudgetTimer { turn, budget }) => {
                TimerKey::Budget(TurnId(turn), Word::of_number("timer.budget", budget)?)
            }
            Kind::Part(pb::TurnPartTimer { turn, part }) => TimerKey::Part(TurnId(turn), required("timer.part", part)?),
            Kind::Reconnect(pb::Nothing {}) => TimerKey::Reconnect,
            Kind::Hold(turn) => TimerKey::Hold(TurnId(turn)),
            Kind::CancelGrace(turn) => TimerKey::CancelGrace(TurnId(turn)),
            Kind::Buffers(node) => TimerKey::Buffers(of_node("timer.buffers", node)?),
            Kind::Deferred(pb::Nothing {}) => TimerKey::Deferred,
            Kind::NodeStart(node) => TimerKey::NodeStart(of_node("timer.node_start", node)?),
            Kind::Silence(pb::Nothing {}) => TimerKey::Silence,
        })
    }
}

impl Wire for Input {
    type Message = pb::Input;

    fn to_wire(&self) -> Result<pb::Input, WireError> {
        use pb::input::Kind;
        let kind = match self {
            Input::SessionOpen(open) => Kind::SessionOpen(open.to_wire()?),
            Input::SessionEnd => Kind::SessionEnd(pb::Nothing {}),
            Input::Cancel(cancellation) => Kind::Cancel(cancellation.to_wire()?),
            Input::Talk(talk) => Kind::Talk(talk.number()),
            Input::AuthorityRevoked => Kind::AuthorityRevoked(pb::Nothing {}),
            Input::TransportLost => Kind::TransportLost(pb::Nothing {}),
            Input::PlayoutAck(ack) => Kind::PlayoutAck(ack.to_wire()?),
            Input::Observed(observation) => Kind::Observed(observation.to_wire()?),
            Input::CallerAudio(frame) => Kind::CallerAudio(frame.to_wire()?),
            Input::UserText(text) => Kind::UserText(to_text("user_text", text)?),
            Input::Prompt(prompt) => Kind::Prompt(prompt.to_wire()?),
            Input::Provider(id, result) => {
                Kind::Provider(pb::ProviderInput { invocation: id.0, result: Some(result.to_wire()?) })
            }
            Input::Derived(derived) => Kind::Derived(derived.to_wire()?),
            Input::Timer(key) => Kind::Timer(key.to_wire()?),
            Input::SessionDrain => Kind::SessionDrain(pb::Nothing {}),
            Input::LeaseRotated(epoch) => Kind::LeaseRotated(epoch.0),
            Input::StaleEpoch { epoch, input } => {
                Kind::StaleEpoch(pb::StaleEpoch { epoch: epoch.0, input: to_text("stale_epoch.input", input)? })
            }
            Input::Admission(snapshot) => Kind::Admission(snapshot.to_wire()?),
            Input::Connection(state) => Kind::Connection(state.number()),
            Input::ProviderHealth { binding, healthy } => Kind::ProviderHealth(pb::ProviderHealth {
                binding: to_text("provider_health.binding", binding)?,
                healthy: *healthy,
            }),
            Input::DispatchRefused(id) => Kind::DispatchRefused(id.0),
            Input::Takeover(takeover) => Kind::Takeover(takeover.to_wire()?),
            Input::Recorder(report) => Kind::Recorder(report.to_wire()?),
            Input::WallClock(WallReading { unix_us, at }) => Kind::WallClock(pb::WallReading {
                unix_us: within("wall_clock.unix", *unix_us, MAX_UNIX_US)?,
                at_us: to_us("wall_clock.at", *at)?,
            }),
            Input::NodeOverrun { node, took } => Kind::NodeOverrun(pb::NodeOverrun {
                node: to_node("node_overrun.node", *node)?,
                took_us: to_us("node_overrun.took", *took)?,
            }),
        };
        Ok(pb::Input { kind: Some(kind) })
    }

    fn of_wire(message: pb::Input) -> Result<Self, WireError> {
        use pb::input::Kind;
        Ok(match known("input", message.kind)? {
            Kind::SessionOpen(open) => Input::SessionOpen(Box::new(SessionOpen::of_wire(open)?)),
            Kind::SessionEnd(pb::Nothing {}) => Input::SessionEnd,
            Kind::Cancel(cancellation) => Input::Cancel(Cancellation::of_wire(cancellation)?),
            Kind::Talk(talk) => Input::Talk(Word::of_number("talk", talk)?),
            Kind::AuthorityRevoked(pb::Nothing {}) => Input::AuthorityRevoked,
            Kind::TransportLost(pb::Nothing {}) => Input::TransportLost,
            Kind::PlayoutAck(ack) => Input::PlayoutAck(PlayoutAck::of_wire(ack)?),
            Kind::Observed(observation) => Input::Observed(Observation::of_wire(observation)?),
            Kind::CallerAudio(frame) => Input::CallerAudio(AudioFrame::of_wire(frame)?),
            Kind::UserText(text) => Input::UserText(of_text("user_text", &text)?),
            Kind::Prompt(prompt) => Input::Prompt(Prompt::of_wire(prompt)?),
            Kind::Provider(pb::ProviderInput { invocation, result }) => {
                Input::Provider(InvocationId(invocation), required("provider.result", result)?)
            }
            Kind::Derived(derived) => Input::Derived(Derived::of_wire(derived)?),
            Kind::Timer(key) => Input::Timer(TimerKey::of_wire(key)?),
            Kind::SessionDrain(pb::Nothing {}) => Input::SessionDrain,
            Kind::LeaseRotated(epoch) => Input::LeaseRotated(LeaseEpoch(epoch)),
            Kind::StaleEpoch(pb::StaleEpoch { epoch, input }) => {
                Input::StaleEpoch { epoch: LeaseEpoch(epoch), input: of_text("stale_epoch.input", &input)? }
            }
            Kind::Admission(snapshot) => Input::Admission(AdmissionSnapshot::of_wire(snapshot)?),
            Kind::Connection(state) => Input::Connection(Word::of_number("connection.state", state)?),
            Kind::ProviderHealth(pb::ProviderHealth { binding, healthy }) => {
                Input::ProviderHealth { binding: of_text("provider_health.binding", &binding)?, healthy }
            }
            Kind::DispatchRefused(id) => Input::DispatchRefused(InvocationId(id)),
            Kind::Takeover(takeover) => Input::Takeover(Takeover::of_wire(takeover)?),
            Kind::Recorder(report) => Input::Recorder(RecorderReport::of_wire(report)?),
            Kind::WallClock(pb::WallReading { unix_us, at_us }) => Input::WallClock(WallReading {
                unix_us: within("wall_clock.unix", unix_us, MAX_UNIX_US)?,
                at: of_us("wall_clock.at", at_us)?,
            }),
            Kind::NodeOverrun(pb::NodeOverrun { node, took_us }) => Input::NodeOverrun {
                node: of_node("node_overrun.node", node)?,
                took: of_us("node_overrun.took", took_us)?,
            },
        })
    }
}
