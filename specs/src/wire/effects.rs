//! Effects, and what is asked of providers.

use std::sync::Arc;

use super::bounded::{no_longer, of_text, of_us, samples, to_text, to_us};
use super::generated as pb;
use super::{MAX_PREROLL_FRAMES, Wire, WireError, known, required};
use crate::event::{AudioFrame, ContextEntry, Request, ToolCall};
use crate::ids::{InvocationId, TurnId};
use crate::limits::MAX_CONTEXT_ENTRIES;
use crate::timeline::{Effect, EgressEpoch};

impl Wire for ContextEntry {
    type Message = pb::ContextEntry;

    fn to_wire(&self) -> Result<pb::ContextEntry, WireError> {
        use pb::context_entry::Role;
        let role = match self {
            ContextEntry::User { text, understood } => {
                Role::User(pb::UserSaid { text: to_text("context.user", text)?, understood: *understood })
            }
            ContextEntry::Remark { text } => Role::Remark(to_text("context.remark", text)?),
            ContextEntry::Agent { text, cut } => {
                Role::Agent(pb::Heard { text: to_text("context.agent", text)?, cut: *cut })
            }
            ContextEntry::Tool { call, result } => {
                let result = result.as_deref().map(|result| to_text("context.tool_result", result)).transpose()?;
                Role::Tool(pb::ToolExchange { call: Some(call.to_wire()?), result })
            }
        };
        Ok(pb::ContextEntry { role: Some(role) })
    }

    fn of_wire(message: pb::ContextEntry) -> Result<Self, WireError> {
        use pb::context_entry::Role;
        Ok(match known("context.role", message.role)? {
            Role::User(pb::UserSaid { text, understood }) => {
                ContextEntry::User { text: of_text("context.user", &text)?, understood }
            }
            Role::Remark(text) => ContextEntry::Remark { text: of_text("context.remark", &text)? },
            Role::Agent(pb::Heard { text, cut }) => ContextEntry::Agent { text: of_text("context.agent", &text)?, cut },
            Role::Tool(pb::ToolExchange { call, result }) => ContextEntry::Tool {
                call: required("context.tool_call", call)?,
                result: result.map(|result| of_text("context.tool_result", &result)).transpose()?,
            },
        })
    }
}

impl Wire for Request {
    type Message = pb::Request;

    fn to_wire(&self) -> Result<pb::Request, WireError> {
        use pb::request::Kind;
        let kind = match self {
            Request::Transcribe { media_start, preroll } => {
                no_longer("transcribe.preroll", preroll.len(), MAX_PREROLL_FRAMES)?;
                Kind::Transcribe(pb::Transcribe {
                    media_start_us: to_us("transcribe.media_start", *media_start)?,
                    preroll: preroll.iter().map(Wire::to_wire).collect::<Result<_, _>>()?,
                })
            }
            Request::Chat { context } => {
                no_longer("chat.context", context.len(), MAX_CONTEXT_ENTRIES)?;
                Kind::Chat(pb::Chat { context: context.iter().map(Wire::to_wire).collect::<Result<_, _>>()? })
            }
            Request::Speak { text } => Kind::Speak(to_text("speak.text", text)?),
            Request::Tool(call) => Kind::Tool(call.to_wire()?),
        };
        Ok(pb::Request { kind: Some(kind) })
    }

    fn of_wire(message: pb::Request) -> Result<Self, WireError> {
        use pb::request::Kind;
        Ok(match known("invoke.request", message.kind)? {
            Kind::Transcribe(pb::Transcribe { media_start_us, preroll }) => {
                no_longer("transcribe.preroll", preroll.len(), MAX_PREROLL_FRAMES)?;
                Request::Transcribe {
                    media_start: of_us("transcribe.media_start", media_start_us)?,
                    preroll: preroll.into_iter().map(AudioFrame::of_wire).collect::<Result<_, _>>()?,
                }
            }
            Kind::Chat(pb::Chat { context }) => {
                no_longer("chat.context", context.len(), MAX_CONTEXT_ENTRIES)?;
                let context: Result<Arc<[ContextEntry]>, WireError> =
                    context.into_iter().map(ContextEntry::of_wire).collect();
                Request::Chat { context: context? }
            }
            Kind::Speak(text) => Request::Speak { text: of_text("speak.text", &text)? },
            Kind::Tool(call) => Request::Tool(ToolCall::of_wire(call)?),
        })
    }
}

impl Wire for Effect {
    type Message = pb::Effect;

    fn to_wire(&self) -> Result<pb::Effect, WireError> {
        use pb::effect::Kind;
        let kind = match self {
            Effect::Invoke { id, binding, request } => Kind::Invoke(pb::Invoke {
                invocation: id.0,
                binding: to_text("invoke.binding", binding)?,
                request: Some(request.to_wire()?),
            }),
            Effect::Feed { id, frame } => Kind::Feed(pb::Feed { invocation: id.0, frame: Some(frame.to_wire()?) }),
            Effect::FeedEnd { id } => Kind::FeedEnd(id.0),
            Effect::CancelInvocation { id } => Kind::CancelInvocation(id.0),
            Effect::EndInvocation { id } => Kind::EndInvocation(id.0),
            Effect::Transmit { turn, epoch, from_sample, frame } => Kind::Transmit(pb::Transmit {
                turn: turn.0,
                epoch: epoch.0,
                from_sample: samples("transmit.from_sample", *from_sample)?,
                frame: Some(frame.to_wire()?),
            }),
            Effect::ClearTransport { turn, epoch } => {
                Kind::ClearTransport(pb::ClearTransport { turn: turn.0, epoch: epoch.0 })
            }
            Effect::WakeAt { at } => Kind::WakeAtUs(to_us("wake_at.at", *at)?),
            Effect::PauseInvocation { id } => Kind::PauseInvocation(id.0),
            Effect::ResumeInvocation { id } => Kind::ResumeInvocation(id.0),
            Effect::GrantCredit { id, results } => {
                Kind::GrantCredit(pb::GrantCredit { invocation: id.0, results: *results })
            }
        };
        Ok(pb::Effect { kind: Some(kind) })
    }

    fn of_wire(message: pb::Effect) -> Result<Self, WireError> {
        use pb::effect::Kind;
        Ok(match known("effect", message.kind)? {
            Kind::Invoke(pb::Invoke { invocation, binding, request }) => Effect::Invoke {
                id: InvocationId(invocation),
                binding: of_text("invoke.binding", &binding)?,
                request: required("invoke.request", request)?,
            },
            Kind::Feed(pb::Feed { invocation, frame }) => {
                Effect::Feed { id: InvocationId(invocation), frame: required("feed.frame", frame)? }
            }
            Kind::FeedEnd(id) => Effect::FeedEnd { id: InvocationId(id) },
            Kind::CancelInvocation(id) => Effect::CancelInvocation { id: InvocationId(id) },
            Kind::EndInvocation(id) => Effect::EndInvocation { id: InvocationId(id) },
            Kind::Transmit(pb::Transmit { turn, epoch, from_sample, frame }) => Effect::Transmit {
                turn: TurnId(turn),
                epoch: EgressEpoch(epoch),
                from_sample: samples("transmit.from_sample", from_sample)?,
                frame: required("transmit.frame", frame)?,
            },
            Kind::ClearTransport(pb::ClearTransport { turn, epoch }) => {
                Effect::ClearTransport { turn: TurnId(turn), epoch: EgressEpoch(epoch) }
            }
            Kind::WakeAtUs(at) => Effect::WakeAt { at: of_us("wake_at.at", at)? },
            Kind::PauseInvocation(id) => Effect::PauseInvocation { id: InvocationId(id) },
            Kind::ResumeInvocation(id) => Effect::ResumeInvocation { id: InvocationId(id) },
            Kind::GrantCredit(pb::GrantCredit { invocation, results }) => {
                Effect::GrantCredit { id: InvocationId(invocation), results }
            }
        })
    }
}
