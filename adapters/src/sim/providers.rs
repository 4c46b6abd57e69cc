//! Simulated providers: what they would answer, and what becomes of it.
//!
//! Each kind makes the answer of a provider that works, a list of results with their times. Then fate strikes, for
//! each invocation by seed: the same list comes slowly, in crumbs, broken off, with garbage in it, with more behind its
//! end, or not at all. An invocation of which nothing is heard any more is ended by the shell, as the adapters do.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use rspp_specs::event::{AudioFrame, ProviderResult, Request, Transcript, Understanding};
use rspp_specs::ids::{InvocationId, UtteranceId};
use rspp_specs::limits::{MAX_FRAME_SAMPLES, MAX_TEXT_BYTES};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Input};

use super::caller::Meaning;
use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};
use super::model::Model;
use super::recogniser::Recogniser;
use super::synthesiser::Synthesiser;
use crate::drive::{Peers, Schedule, Ticket};

/// The shell ends an invocation of which nothing was heard for so long.
const PATIENCE: Micros = Micros::from_ms(8_000);

/// Results, each so long after the request, in order.
pub(super) type Answer = Vec<(Micros, ProviderResult)>;

/// What becomes of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It answers.
    Answers,
    /// It answers, and takes its time.
    Slow,
    /// It answers in crumbs.
    Dribbles,
    /// From some point on nothing comes any more, not even an end.
    FallsSilent,
    /// It refuses.
    Refuses(Outcome),
    /// It breaks off.
    Disconnects,
    /// Something comes that no provider should say.
    Garbage,
    /// It goes on after its end.
    GoesOn,
}

/// All providers of one call.
#[derive(Debug)]
pub(super) struct Providers {
    faults: Faults,
    beat: Micros,
    recogniser: Recogniser,
    model: Model,
    synthesiser: Synthesiser,
    tools: Draws,
    running: BTreeMap<InvocationId, Running>,
    /// Those that were cancelled and did not heed it.
    deaf: BTreeMap<InvocationId, Running>,
    /// What the caller said last: what there is to recognise.
    pub(super) meaning: Meaning,
}

/// An invocation in flight.
#[derive(Debug)]
struct Running {
    fate: Fate,
    /// What a cancellation takes back. Of a stubborn provider it takes back nothing, and all of it comes late.
    pending: Vec<Ticket>,
    stubborn: bool,
    /// Its last result so far: an answer keeps its order.
    last_at: Micros,
    /// A recogniser's, which is fed: up to here, and up to where partials were given.
    fed: Option<Fed>,
}

#[derive(Clone, Copy, Debug)]
struct Fed {
    until: Micros,
    told: Micros,
}

impl Providers {
    pub(super) fn new(origin: Origin, character: &Character, faults: Faults) -> Self {
        Self {
            faults,
            beat: character.beat,
            recogniser: Recogniser::new(origin),
            model: Model::new(origin, character, faults),
            synthesiser: Synthesiser::new(origin, character),
            tools: Draws::new(origin, Concern::Tools),
            running: BTreeMap::new(),
            deaf: BTreeMap::new(),
            meaning: Meaning::Noise,
        }
    }

    /// How many invocations are in flight.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// A result of this invocation goes in: after its end, or after one that can't be taken, nothing is waited for.
    pub(super) fn note_delivered(&mut self, id: InvocationId, input: &Input) {
        let ends = matches!(input, Input::Provider(_, ProviderResult::End(_)));
        if ends || input.check().is_err() {
            self.running.remove(&id);
        }
    }

    /// The worker is lost, and its connections with it: nobody hears any more what is on the way.
    pub(super) fn disconnect(&mut self, schedule: &mut Schedule) {
        self.running.clear();
        schedule.retain(|input| !matches!(input, Input::Provider(..)));
    }

    fn invoke(&mut self, now: Micros, id: InvocationId, binding: &str, request: &Request, schedule: &mut Schedule) {
        let (faults, draws) = (self.faults, self.draws_for(request));
        let (fate, stubborn) = (Fate::draw(draws, faults), draws.chance(500));
        let mut running = Running { fate, pending: Vec::new(), stubborn, last_at: now, fed: None };
        let answer = match request {
            Request::Transcribe { media_start, preroll } => {
                let length: u64 = preroll.iter().map(|frame| frame.duration().0).sum();
                let until = *media_start + Micros(length);
                let early = self.recogniser.early_end(fate);
                running.fed = early.is_none().then_some(Fed { until, told: until });
                early.into_iter().collect()
            }
            Request::Chat { context } => fate.apply(self.model.answer(context), self.model.draws()),
            Request::Speak { text } => fate.apply(self.synthesiser.answer(text), self.synthesiser.draws()),
            Request::Tool(_) => fate.apply(tool_answer(&mut self.tools, binding), &mut self.tools),
        };
        running.put(now, self.beat, id, answer, schedule);
        self.running.insert(id, running);
    }

    fn draws_for(&mut self, request: &Request) -> &mut Draws {
        match request {
            Request::Transcribe { .. } => self.recogniser.draws(),
            Request::Chat { .. } => self.model.draws(),
            Request::Speak { .. } => self.synthesiser.draws(),
            Request::Tool(_) => &mut self.tools,
        }
    }

    fn feed(&mut self, now: Micros, id: InvocationId, frame: &AudioFrame, schedule: &mut Schedule) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(fed) = &mut running.fed else { return };
        fed.until = fed.until + frame.duration();
        if fed.until.since(fed.told) < self.recogniser.partial_every(running.fate) {
            return;
        }
        fed.told = fed.until;
        let partial = self.recogniser.partial(&self.meaning, fed.until);
        running.put(now, self.beat, id, partial.into_iter().collect(), schedule);
    }

    fn feed_end(&mut self, now: Micros, id: InvocationId, schedule: &mut Schedule) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(fed) = running.fed else { return };
        let answer = self.recogniser.answer(&self.meaning, fed.until);
        let answer = running.fate.apply(answer, self.recogniser.draws());
        running.put(now, self.beat, id, answer, schedule);
    }

    fn cancel(&mut self, id: InvocationId, schedule: &mut Schedule) {
        let Some(running) = self.running.remove(&id) else { return };
        if running.stubborn {
            self.deaf.insert(id, running);
        } else {
            running.pending.into_iter().for_each(|ticket| schedule.take_back(ticket));
        }
    }

    /// Whoever did not heed a cancellation is ended by force.
    fn end(&mut self, id: InvocationId, schedule: &mut Schedule) {
        let pending = self.deaf.remove(&id).into_iter().flat_map(|running| running.pending);
        pending.for_each(|ticket| schedule.take_back(ticket));
    }
}

impl Peers for Providers {
    type Error = Infallible;

    fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) -> Result<(), Infallible> {
        match effect {
            Effect::Invoke { id, binding, request } => self.invoke(now, *id, binding, request, schedule),
            Effect::Feed { id, frame } => self.feed(now, *id, frame, schedule),
            Effect::FeedEnd { id } => self.feed_end(now, *id, schedule),
            Effect::CancelInvocation { id } => self.cancel(*id, schedule),
            Effect::EndInvocation { id } => self.end(*id, schedule),
            _ => {}
        }
        Ok(())
    }
}

impl Running {
    fn put(&mut self, now: Micros, beat: Micros, id: InvocationId, answer: Answer, schedule: &mut Schedule) {
        for (after, result) in answer {
            let at = Micros((now + after).0.next_multiple_of(beat.0)).max(now + beat).max(self.last_at);
            self.last_at = at;
            let ticket = schedule.put(at, Input::Provider(id, result));
            if !self.stubborn {
                self.pending.push(ticket);
            }
        }
    }
}

impl Fate {
    fn draw(draws: &mut Draws, faults: Faults) -> Self {
        if !faults.has(Fault::ProviderFailure) {
            return draws.weighted(&[(90, Fate::Answers), (5, Fate::Slow), (5, Fate::Dribbles)]);
        }
        let refusal = draws.pick(&[
            Outcome::RateLimited,
            Outcome::RateLimited,
            Outcome::Overload,
            Outcome::Blocked,
            Outcome::Failed,
        ]);
        draws.weighted(&[
            (770, Fate::Answers),
            (50, Fate::Slow),
            (50, Fate::Dribbles),
            (15, Fate::FallsSilent),
            (30, Fate::Refuses(refusal)),
            (30, Fate::Disconnects),
            (30, Fate::Garbage),
            (25, Fate::GoesOn),
        ])
    }

    /// What comes of an answer, its end included.
    fn apply(self, mut answer: Answer, draws: &mut Draws) -> Answer {
        let end = answer.last().map_or(Micros::from_ms(20), |(after, _)| *after);
        let cut = draws.below(answer.len() as u64 + 1) as usize;
        match self {
            Fate::Answers => answer.push((end, ProviderResult::End(Outcome::Success))),
            Fate::Slow => {
                answer.iter_mut().for_each(|(after, _)| *after = Micros(after.0 * 5));
                answer.push((Micros(end.0 * 5), ProviderResult::End(Outcome::Success)));
            }
            Fate::Dribbles => return dribble(answer),
            Fate::FallsSilent => {
                answer.truncate(cut);
                let last = answer.last().map_or(Micros(0), |(after, _)| *after);
                answer.push((last + PATIENCE, ProviderResult::End(Outcome::Timeout)));
            }
            Fate::Refuses(outcome) => return vec![(draws.ms(5, 300), ProviderResult::End(outcome))],
            Fate::Disconnects => {
                answer.truncate(cut);
                let last = answer.last().map_or(Micros::from_ms(50), |(after, _)| *after);
                answer.push((last, ProviderResult::End(Outcome::Disconnected)));
            }
            Fate::Garbage => {
                let at = answer.get(cut).map_or(end, |(after, _)| *after);
                answer.insert(cut, (at, garbage(draws)));
                answer.push((end, ProviderResult::End(Outcome::Success)));
            }
            Fate::GoesOn => {
                let again: Answer = answer.iter().take(3).map(|(_, result)| (end, result.clone())).collect();
                answer.push((end, ProviderResult::End(Outcome::Success)));
                answer.extend(again);
                answer.push((end + Micros::from_ms(40), ProviderResult::End(Outcome::Failed)));
            }
        }
        answer
    }
}

/// Word by word, and three times as slowly.
fn dribble(answer: Answer) -> Answer {
    let mut crumbs = Answer::new();
    let mut last = Micros(0);
    for (after, result) in answer {
        last = last.max(Micros(after.0 * 3));
        match result {
            ProviderResult::Text(text) => {
                for crumb in text.split_inclusive(' ') {
                    crumbs.push((last, ProviderResult::Text(crumb.into())));
                    last = last + Micros::from_ms(35);
                }
            }
            whole => crumbs.push((last, whole)),
        }
    }
    crumbs.push((last, ProviderResult::End(Outcome::Success)));
    crumbs
}

/// Something that no provider should say: over the limits, or of another kind of provider, or senseless.
fn garbage(draws: &mut Draws) -> ProviderResult {
    let audio = |samples: usize, rate_hz| {
        ProviderResult::Audio(AudioFrame { samples: vec![1; samples].into(), rate_hz, spoken_by: None })
    };
    let transcript = |understanding, text: &str, watermark| {
        let (utterance, text) = (UtteranceId(u32::MAX), Arc::from(text));
        ProviderResult::Transcript(Transcript { utterance, understanding, text, watermark: Micros(watermark) })
    };
    match draws.below(10) {
        0 => ProviderResult::Text("x".repeat(MAX_TEXT_BYTES + 1).into()),
        1 => ProviderResult::Text("".into()),
        2 => ProviderResult::Text("\u{0}\u{202e}\u{fffd} \n\n".into()),
        3 => audio(0, 16_000),
        4 => audio(MAX_FRAME_SAMPLES + 1, 48_000),
        5 => audio(320, 1),
        6 => ProviderResult::ToolResult("not asked for".into()),
        7 => transcript(Understanding::Words, "from another call", u64::MAX),
        8 => transcript(Understanding::Empty, "", 0),
        _ => transcript(Understanding::Partial, " ", 1),
    }
}

/// What a binding is called that the plan does not have.
const UNDECLARED: &str = "undeclared-tool";

fn tool_answer(draws: &mut Draws, binding: &str) -> Answer {
    let text = if binding == UNDECLARED { "error: there is no such tool" } else { "done" };
    vec![(draws.ms(20, 900), ProviderResult::ToolResult(text.into()))]
}
