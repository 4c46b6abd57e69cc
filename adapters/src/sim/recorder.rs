//! How the worker's log fares, as the session is told: now and then it does not keep up, and seldom there is no room even for
//! what is kept of every turn.

use rspp_specs::plan::RecordingLevel;
use rspp_specs::recording::RecorderReport;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Input;

use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};

/// One call's view of the log.
#[derive(Debug)]
pub(super) struct Recorder {
    draws: Draws,
    says: RecorderReport,
    tells_at: Option<Micros>,
}

const NEVER: Micros = Micros(u64::MAX);

impl Recorder {
    pub(super) fn new(now: Micros, origin: Origin, character: &Character, faults: Faults) -> Self {
        let mut draws = Draws::new(origin, Concern::Recorder);
        let concerned = draws.chance(400) && faults.has(Fault::AdmissionOverload);
        let tells_at = concerned.then(|| character.on_the_beat(now + draws.ms(500, 20_000)));
        Self { draws, says: RecorderReport::Relaxed, tells_at }
    }

    pub(super) fn next_at(&self) -> Micros {
        self.tells_at.unwrap_or(NEVER)
    }

    /// It gets worse, as it is measured outside, or it is over; and now and then somebody wants to look more closely.
    pub(super) fn act(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.tells_at.is_none_or(|at| at > now) {
            return;
        }
        let (next, lasts) = match self.says {
            RecorderReport::Relaxed => (RecorderReport::Strained, self.draws.ms(500, 6_000)),
            RecorderReport::Strained if self.draws.chance(500) => {
                (RecorderReport::Overloaded, self.draws.ms(300, 4_000))
            }
            RecorderReport::Overloaded if self.draws.chance(250) => {
                (RecorderReport::NoEvidence, self.draws.ms(100, 1_500))
            }
            _ => (RecorderReport::Relaxed, self.draws.ms(2_000, 25_000)),
        };
        self.says = next;
        inputs.push(Input::Recorder(next));
        if self.draws.chance(150) {
            let level = self.draws.pick(&[RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2]);
            inputs.push(Input::Recorder(RecorderReport::Asked(level)));
        }
        self.tells_at = Some(now + lasts);
    }

    /// Another worker has another log, and it keeps up: so it says, to whom was told otherwise.
    pub(super) fn on_takeover(&mut self, now: Micros) {
        if self.tells_at.is_some() && self.says != RecorderReport::Relaxed {
            self.says = RecorderReport::NoEvidence;
            self.tells_at = Some(now);
        }
    }
}
