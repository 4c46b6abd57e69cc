//! A caller: speaks, listens, interrupts, coughs, types, floods, hangs up.

use std::sync::Arc;

use rspp_specs::event::AudioFrame;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Input;

use super::character::{Character, Manner};
use super::draws::{Concern, Draws, Origin};
use super::speech::{Sound, silence};

/// What the caller notices of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    /// A turn is open.
    pub(super) answers: bool,
    /// Audio of a turn is still to be heard.
    pub(super) speaks: bool,
}

/// What there is to recognise in an utterance.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// A sentence.
    Sentence(Arc<str>),
    /// "Uh-huh": words to one recogniser, nothing to another.
    Backchannel,
    /// A cough, a door.
    Noise,
}

/// One caller in one call.
#[derive(Debug)]
pub(super) struct Caller {
    draws: Draws,
    manner: Manner,
    sound: Sound,
    /// When the frame ends that is being spoken.
    frame_ends: Option<Micros>,
    frames: u64,
    utterance: Option<Utterance>,
    meaning: Meaning,
    /// When it speaks, if the agent is quiet.
    speaks_at: Micros,
    agent: Agent,
    types_at: Option<Micros>,
    hangs_up_at: Option<Micros>,
    floods_at: Option<Micros>,
}

/// Speech under way, in frames.
#[derive(Clone, Copy, Debug)]
struct Utterance {
    left: u64,
    /// It falls silent for a moment, shorter than an endpoint needs.
    gap: u64,
}

const NEVER: Micros = Micros(u64::MAX);
const SENTENCES: [&str; 8] = [
    "what time do you open on sunday",
    "I would like a table for four",
    "no wait",
    "book it for half past seven",
    "is there a terrace",
    "cancel my booking",
    "yes please",
    "and what does it cost",
];

impl Caller {
    pub(super) fn new(now: Micros, origin: Origin, character: &Character) -> Self {
        let mut draws = Draws::new(origin, Concern::Caller);
        let manner = character.manner;
        let sends_audio = character.hears && !(manner == Manner::Typer && draws.chance(500));
        Self {
            manner,
            sound: character.sound,
            frame_ends: sends_audio.then(|| now + Micros::from_ms(FRAME_MS)),
            frames: 0,
            utterance: None,
            meaning: Meaning::Noise,
            speaks_at: now + draws.ms(200, 3_000),
            agent: Agent::default(),
            types_at: (manner == Manner::Typer).then(|| now + draws.ms(100, 3_000)),
            hangs_up_at: (manner == Manner::HangerUp).then(|| now + draws.ms(2_000, 90_000)),
            floods_at: (manner == Manner::Flooder).then(|| now + draws.ms(1_000, 20_000)),
            draws,
        }
    }

    pub(super) fn next_at(&self) -> Micros {
        let times = [self.frame_ends, self.types_at, self.hangs_up_at, self.floods_at];
        times.into_iter().flatten().min().unwrap_or(NEVER)
    }

    /// What there is to recognise in the last utterance.
    pub(super) fn meaning(&self) -> &Meaning {
        &self.meaning
    }

    /// Notices what the agent does.
    pub(super) fn notice(&mut self, now: Micros, agent: Agent) {
        let was_busy = self.agent.answers || self.agent.speaks;
        if was_busy && !agent.answers && !agent.speaks {
            self.speaks_at = now + self.draws.ms(300, 4_000);
        }
        self.agent = agent;
    }

    /// The frame that ends now, if one does.
    pub(super) fn frame(&mut self, now: Micros) -> Option<AudioFrame> {
        self.frame_ends.filter(|at| *at <= now)?;
        self.frame_ends = Some(now + Micros::from_ms(FRAME_MS));
        Some(self.next_frame(now))
    }

    /// Everything else that it does by now.
    pub(super) fn act(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.types_at.is_some_and(|at| at <= now) {
            self.types(now, inputs);
        }
        if self.floods_at.is_some_and(|at| at <= now) {
            self.floods(now, inputs);
        }
        if self.hangs_up_at.is_some_and(|at| at <= now) {
            self.hangs_up_at = None;
            inputs.push(Input::SessionEnd);
        }
    }

    fn next_frame(&mut self, now: Micros) -> AudioFrame {
        self.frames += 1;
        if self.utterance.is_none() {
            self.begin(now);
        }
        let Some(utterance) = &mut self.utterance else { return silence() };
        utterance.left -= 1;
        let is_over = utterance.left == 0;
        if utterance.gap > 0 {
            utterance.gap -= 1;
        } else if self.draws.chance(15) {
            utterance.gap = self.draws.between(2, 16);
        }
        let frame = if utterance.gap > 0 { silence() } else { self.sound.speech(self.frames) };
        if is_over {
            self.utterance = None;
            // If no answer comes, it asks again.
            self.speaks_at = now + self.draws.ms(4_000, 9_000);
        }
        frame
    }

    /// Begins to speak, if this is the moment.
    fn begin(&mut self, now: Micros) {
        if self.manner == Manner::Silent {
            if self.draws.chance(2) {
                self.speak(Meaning::Noise, 2, 12);
            }
        } else if self.agent.answers || self.agent.speaks {
            self.begin_over_the_answer();
        } else if now >= self.speaks_at && self.manner != Manner::Typer {
            let sentence = self.draws.pick(&SENTENCES);
            self.speak(Meaning::Sentence(sentence.into()), 15, 150);
        }
    }

    /// In each frame of an answer, with a small chance.
    fn begin_over_the_answer(&mut self) {
        let (chance, backchannel) = match self.manner {
            Manner::Interrupter | Manner::Flooder => (8, 100),
            Manner::HangerUp => (5, 300),
            Manner::Backchanneler => (10, 900),
            Manner::Talker | Manner::Silent | Manner::Typer => (1, 500),
        };
        if !self.draws.chance(chance) {
            return;
        }
        match self.draws.below(1_000) {
            of if of < backchannel => self.speak(Meaning::Backchannel, 6, 14),
            of if of < backchannel + 100 => self.speak(Meaning::Noise, 4, 25),
            _ => {
                let sentence = self.draws.pick(&SENTENCES);
                self.speak(Meaning::Sentence(sentence.into()), 10, 120);
            }
        }
    }

    fn speak(&mut self, meaning: Meaning, least_frames: u64, most_frames: u64) {
        self.meaning = meaning;
        self.utterance = Some(Utterance { left: self.draws.between(least_frames, most_frames), gap: 0 });
    }

    fn types(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        for _ in 0..self.draws.weighted(&[(8, 1), (1, 2), (1, 3)]) {
            inputs.push(Input::UserText(self.draws.pick(&SENTENCES).into()));
        }
        self.types_at = Some(now + self.draws.ms(300, 12_000));
    }

    /// More in one moment than a tick takes.
    fn floods(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.frame_ends.is_some() && self.draws.chance(700) {
            let frames = self.draws.between(100, 700);
            for _ in 0..frames {
                let frame = self.next_frame(now);
                inputs.push(Input::CallerAudio(frame));
            }
        } else {
            let texts = self.draws.between(20, 400);
            inputs.extend((0..texts).map(|_| Input::UserText(self.draws.pick(&SENTENCES).into())));
        }
        self.floods_at = Some(now + self.draws.ms(1_000, 30_000));
    }
}
