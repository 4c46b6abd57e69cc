//! Tools that the client carries out: what it is called for, and how the answer goes on when it has answered.
//!
//! In this protocol a response ends where the model waits for a tool, and the client asks for the next one when it has brought
//! the output. A turn is one all the way, so its responses are cut from it: one ends when its model has, and nothing of it is
//! left to be heard; the next begins with `response.create`, with which the model is given the outputs.

use std::collections::BTreeMap;

use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use serde_json::{Value, json};

use super::Realtime;
use super::conversation::Item;
use super::events::Wrong;
use crate::tools::{CLIENT_PATIENCE, MAX_RESULT_BYTES};
use crate::transport::{Asked, Exchange};

/// After so long without a sound nothing of what was said is left to be heard: the pacer sends a frame every 20 ms.
const QUIET: Micros = Micros::from_ms(200);

/// What the client was called for.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The turn that is open.
    open: Option<TurnId>,
    /// The turn that is open, if the client was called in it.
    called: bool,
    /// The model that answers.
    model: Option<InvocationId>,
    /// By the client's name for each, with the time at which it is given up.
    pending: BTreeMap<String, (InvocationId, Micros)>,
    /// What the client has brought and the turn has not been given yet, with the time at which it is in any case.
    brought: Vec<(InvocationId, String, Micros)>,
    heard_at: Option<Micros>,
}

impl Calls {
    pub(super) fn begin(&mut self, turn: TurnId) {
        (self.open, self.called, self.heard_at) = (Some(turn), false, None);
    }

    /// The turn is over. What the client still brings is late, and the core says so.
    pub(super) fn end(&mut self, out: &mut Exchange) {
        self.hand_over(None, out);
        (self.open, self.called, self.model) = (None, false, None);
    }

    /// The turn in which the client was called, as long as it is open.
    pub(super) fn turn(&self) -> Option<TurnId> {
        self.open.filter(|_| self.called)
    }

    pub(super) fn on_model(&mut self, model: Option<InvocationId>) {
        self.model = model;
    }

    /// Whether this was the model that answered.
    pub(super) fn on_model_end(&mut self, id: InvocationId) -> bool {
        self.model.take_if(|model| *model == id).is_some()
    }

    pub(super) fn on_sound(&mut self, now: Micros) {
        self.heard_at = Some(now);
    }

    /// The client has carried out a call.
    pub(super) fn answer(&mut self, call: &str, output: &str, out: &mut Exchange) -> Result<(), Wrong> {
        let wrong = |says: String| Wrong { param: Some("item"), ..Wrong::new("invalid_value", &says) };
        if output.len() > MAX_RESULT_BYTES {
            return Err(wrong(format!("an output has at most {MAX_RESULT_BYTES} bytes")));
        }
        let pending = self.pending.remove(call);
        let (id, until) = pending.ok_or_else(|| wrong(format!("no call `{call}` waits for an output")))?;
        if self.turn().is_some() {
            // The model goes on when the client asks for its answer, and not a word before.
            self.brought.push((id, output.to_owned(), until));
        } else {
            Asked::answer(id, output, Outcome::Success, out);
        }
        Ok(())
    }

    /// The turn is given what the client has brought by now; of all, or of what has waited long enough.
    fn hand_over(&mut self, now: Option<Micros>, out: &mut Exchange) {
        let is_due = |until: Micros| now.is_none_or(|now| now >= until);
        for (id, output, _) in self.brought.extract_if(.., |(_, _, until)| is_due(*until)) {
            Asked::answer(id, output, Outcome::Success, out);
        }
    }

    /// Calls that the client has not carried out in time.
    pub(super) fn give_up(&mut self, now: Micros, out: &mut Exchange) {
        self.hand_over(Some(now), out);
        self.pending.retain(|_, (id, until)| {
            if now >= *until {
                Asked::answer(*id, "error: the client did not answer in time", Outcome::Timeout, out);
            }
            now < *until
        });
    }

    /// When something is to be looked at.
    pub(super) fn next_at(&self) -> Option<Micros> {
        let brought = self.brought.iter().map(|(_, _, until)| *until);
        let given_up = self.pending.values().map(|(_, until)| *until).chain(brought).min();
        let quiet = self.heard_at.filter(|_| self.waits()).map(|at| at + QUIET);
        given_up.into_iter().chain(quiet).min()
    }

    /// The model has said what it wants, and nothing goes on before the client has answered.
    fn waits(&self) -> bool {
        self.called && self.model.is_none() && !(self.pending.is_empty() && self.brought.is_empty())
    }

    fn is_quiet(&self, now: Micros) -> bool {
        self.heard_at.is_none_or(|at| now.since(at) >= QUIET)
    }
}

impl Realtime {
    /// The client is called.
    pub(super) fn call(&mut self, now: Micros, asked: &Asked, out: &mut Exchange) {
        self.calls.called = true;
        if let Some(turn) = self.calls.turn().filter(|_| self.response.is_none()) {
            self.on_turn(turn, out);
        }
        let (call_id, item_id) = (self.id("call"), self.id("item"));
        self.calls.pending.insert(call_id.clone(), (asked.id, now + CLIENT_PATIENCE));
        let previous = self.conversation.last();
        self.conversation.add(Item::of_call(item_id.clone(), &call_id, &asked.call));
        let (response_id, index) = match &mut self.response {
            Some(response) => {
                let index = response.calls.len() + usize::from(response.item.is_some());
                response.calls.push(item_id.clone());
                (response.id.clone(), index)
            }
            None => (String::new(), 0),
        };
        let of_item = |kind: &str, item: &Value| json!({"type": kind, "response_id": response_id, "output_index": index, "item": item});
        let of_call = |kind: &str, key: &str| {
            json!({
                "type": kind, "response_id": response_id, "item_id": item_id, "output_index": index, "call_id": call_id,
                key: &*asked.call.arguments
            })
        };
        let shown = self.conversation.shown(&item_id).unwrap_or_default();
        self.say(of_item("response.output_item.added", &shown), out);
        self.say(json!({"type": "conversation.item.added", "previous_item_id": previous, "item": shown}), out);
        self.say(of_call("response.function_call_arguments.delta", "delta"), out);
        let mut done = of_call("response.function_call_arguments.done", "arguments");
        done["name"] = (&*asked.call.name).into();
        self.say(done, out);
        self.conversation.call(&item_id, &asked.call.arguments);
        let shown = self.conversation.shown(&item_id).unwrap_or_default();
        self.say(json!({"type": "conversation.item.done", "previous_item_id": previous, "item": shown}), out);
        self.say(of_item("response.output_item.done", &shown), out);
        self.finish_if_it_waits(now, out);
    }

    /// A response ends where the model waits for the client.
    pub(super) fn finish_if_it_waits(&mut self, now: Micros, out: &mut Exchange) {
        if self.calls.waits() && self.calls.is_quiet(now) {
            self.finish_response(self.calls.turn(), "completed", &Value::Null, out);
        }
    }

    /// The client wants the answer to go on: that is the turn's own next response.
    pub(super) fn go_on(&mut self, turn: TurnId, wanted: Value, out: &mut Exchange) {
        self.finish_response(Some(turn), "completed", &Value::Null, out);
        self.wanted = Some(wanted);
        self.on_turn(turn, out);
        self.calls.hand_over(None, out);
    }
}
