//! A simulated synthesiser: audio of the length that its text suggests.

use rspp_specs::event::{AudioFrame, ProviderResult, WordEnd};
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
    /// It says where its words end.
    tells_words: bool,
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
        let tells_words = draws.chance(400);
        Self { draws, tells_words, frame: synthetic(character.voice_rate_hz, character.voice_frame_ms), pace_ms }
    }

    pub(super) fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// Frames that speak `text`.
    pub(super) fn answer(&mut self, text: &str) -> Answer {
        let first = self.draws.ms(60, 350);
        let length = (text.chars().count() as u64 * CHARACTER_MS).min(MAX_SPEECH_MS);
        let frame_ms = self.frame.duration().as_ms();
        let pace_ms = self.pace_ms;
        let at = |frame: u64| first + Micros(frame * frame_ms * pace_ms);
        let frames = 0..length.div_ceil(frame_ms);
        let mut answer: Answer = frames.map(|frame| (at(frame), ProviderResult::Audio(self.frame.clone()))).collect();
        if self.tells_words {
            let ends = self.word_ends(text, length);
            answer.splice(0..0, ends.map(|ends| (first, ends)));
        }
        answer
    }

    /// Where words end: by their characters, and often a little off.
    fn word_ends(&mut self, text: &str, length_ms: u64) -> Option<ProviderResult> {
        let rate_hz = self.frame.rate_hz;
        let mut ends = Vec::new();
        let mut last = 0;
        let words = text
            .chars()
            .enumerate()
            .zip(text.chars().skip(1))
            .filter(|((_, c), next)| !c.is_whitespace() && next.is_whitespace());
        for ((place, _), _) in words.take(200) {
            let chars = place as u32 + 1;
            let ms = u64::from(chars) * CHARACTER_MS + self.draws.between(0, 120);
            let samples = Micros::from_ms(ms.min(length_ms)).to_samples(rate_hz).max(last);
            ends.push(WordEnd { chars, samples });
            last = samples;
        }
        (!ends.is_empty()).then(|| ProviderResult::WordEnds(ends.into()))
    }
}
