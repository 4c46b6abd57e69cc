//! A simulated synthesiser: audio of the length that its text suggests.

use rspp_specs::event::{AudioFrame, ProviderResult};
use rspp_specs::time::Micros;

use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::providers::Answer;
use super::speech::synthetic;

/// One call's synthesiser.
#[derive(Debug)]
pub(super) struct Synthesiser {
    draws: Draws,
    frame: AudioFrame,
    /// How long a second of audio takes to come, in milliseconds.
    pace_ms: u64,
}

/// How long a character is spoken.
const CHARACTER_MS: u64 = 55;
/// No simulated speech is longer.
const MAX_SPEECH_MS: u64 = 20_000;

impl Synthesiser {
    pub(super) fn new(origin: Origin, character: &Character) -> Self {
        let mut draws = Draws::new(origin, Concern::Synthesiser);
        // All at once, a few times faster than it plays, hardly faster, too slow.
        let pace_ms = draws.weighted(&[(30, 0), (45, 250), (20, 900), (5, 1_100)]);
        Self { draws, frame: synthetic(character.voice_rate_hz, character.voice_frame_ms), pace_ms }
    }

    pub(super) fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// Frames that speak `text`.
    pub(super) fn answer(&mut self, text: &str) -> Answer {
        let first = self.draws.ms(60, 350);
        let length = (text.chars().count() as u64 * CHARACTER_MS).min(MAX_SPEECH_MS);
        let frame_ms = self.frame.duration().as_ms();
        let at = |frame: u64| first + Micros(frame * frame_ms * self.pace_ms);
        (0..length.div_ceil(frame_ms)).map(|frame| (at(frame), ProviderResult::Audio(self.frame.clone()))).collect()
    }
}
