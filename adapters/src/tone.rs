//! Tones in a voice's place: for each syllable a short soft tone, at the pace of speech.
//!
//! Nobody can understand it, and that is said wherever it is used: it is for machines on which no voice can be had,
//! so that a call still has answers that begin, last and can be interrupted like spoken ones. The same text gives the
//! same samples on every machine, and where each word ends is known to the sample.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use rspp_specs::event::{AudioFrame, ProviderResult, Request, WordEnd};
use rspp_specs::limits::{FRAME_MS, MAX_TEXT_BYTES};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use crate::audio::CALL_RATE_HZ;
use crate::provider::{Answer, Provider, ProviderError, Timed, latency, refuse};

/// A letter, a space or a sign takes so long: about 15 of them a second.
const LETTER_MS: u64 = 66;
/// Silence behind a comma, and behind the end of a sentence, more than the sign itself takes.
const COMMA_MS: u64 = 120;
const SENTENCE_MS: u64 = 260;
/// How long a tone takes to swell, and to die away.
const SWELL_MS: u64 = 25;
/// The loudest sample: soft, and well above what a detector takes for silence.
const PEAK: f64 = 5_000.0;
/// The lowest pitch of a syllable.
const LOW_HZ: f64 = 130.0;
/// Steps of a fifth of an octave above it.
const PITCHES: u32 = 5;

const FRAME_SAMPLES: usize = (CALL_RATE_HZ as u64 * FRAME_MS / 1_000) as usize;

/// The tones of a text: 16-bit mono at [`CALL_RATE_HZ`]. Text without a letter or digit has none.
pub fn tones(text: &str) -> Vec<i16> {
    tones_and_ends(text).0
}

/// The tones of a text, and where in them its words end: with their last tone, and before the pause.
fn tones_and_ends(text: &str) -> (Vec<i16>, Vec<WordEnd>) {
    let (mut samples, mut ends) = (Vec::new(), Vec::new());
    if !text.contains(char::is_alphanumeric) {
        return (samples, ends);
    }
    let mut chars = 0;
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end();
        let end = chars + word.chars().count() as u32;
        chars += part.chars().count() as u32;
        if word.is_empty() {
            continue;
        }
        let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        for syllable in syllables(bare) {
            tone(&mut samples, &syllable);
        }
        ends.push(WordEnd { chars: end, samples: samples.len() as u64 });
        let signs = (word.chars().count() - bare.chars().count()) as u64;
        let pause = match word.chars().last() {
            Some('.' | '!' | '?' | ':') => SENTENCE_MS,
            Some(',' | ';') => COMMA_MS,
            _ => 0,
        };
        let quiet = samples_of(LETTER_MS * (1 + signs) + pause);
        samples.resize(samples.len() + quiet, 0);
    }
    (samples, ends)
}

fn samples_of(ms: u64) -> usize {
    (ms * u64::from(CALL_RATE_HZ) / 1_000) as usize
}

/// A word cut behind each group of vowels; what follows the last group belongs to it. A rough rule for English, and
/// all that the pace needs.
fn syllables(word: &str) -> Vec<String> {
    let is_vowel = |c: char| "aeiouyäöüàéè".contains(c) || c.is_ascii_digit();
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut had_vowel = false;
    for c in word.to_lowercase().chars() {
        if had_vowel && !is_vowel(c) {
            parts.push(std::mem::take(&mut part));
            had_vowel = false;
        }
        had_vowel |= is_vowel(c);
        part.push(c);
    }
    match parts.last_mut() {
        Some(last) if !had_vowel => last.push_str(&part),
        _ if part.is_empty() => {}
        _ => parts.push(part),
    }
    parts
}

/// A tone as long as the syllable's letters take; its letters choose the pitch, which falls a little.
fn tone(samples: &mut Vec<i16>, syllable: &str) {
    let length = samples_of(LETTER_MS * syllable.chars().count() as u64);
    let letters = syllable.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let pitch = LOW_HZ * libm::exp2(f64::from(letters % PITCHES) / f64::from(PITCHES));
    let swell = samples_of(SWELL_MS).min(length / 2).max(1);
    let mut phase = 0.0;
    for at in 0..length {
        let passed = at as f64 / length as f64;
        phase += pitch * (1.0 - 0.06 * passed) / f64::from(CALL_RATE_HZ);
        let edge = at.min(length - 1 - at).min(swell) as f64 / swell as f64;
        let envelope = 0.5 - 0.5 * libm::cos(edge * TAU / 2.0);
        let wave = libm::sin(phase * TAU) + 0.5 * libm::sin(2.0 * phase * TAU) + 0.25 * libm::sin(3.0 * phase * TAU);
        samples.push(libm::round(envelope * wave / 1.75 * PEAK) as i16);
    }
}

/// The voice of one session: binding `tone:`. What was said lately is kept, for all sessions: a server says the same things
/// to many callers.
#[derive(Clone, Default)]
pub(crate) struct ToneVoice {
    kept: Arc<Mutex<BTreeMap<Arc<str>, Speech>>>,
}

/// A text, spoken.
#[derive(Clone)]
struct Speech {
    frames: Arc<[AudioFrame]>,
    /// Where its words end.
    ends: Arc<[WordEnd]>,
}

impl Speech {
    fn of(text: &str) -> Self {
        let (samples, ends) = tones_and_ends(text);
        let frame = |samples: &[i16]| AudioFrame { samples: samples.into(), rate_hz: CALL_RATE_HZ, spoken_by: None };
        Self { frames: samples.chunks(FRAME_SAMPLES).map(frame).collect(), ends: ends.into() }
    }

    /// Where words end comes before the first of them is heard.
    fn results(&self) -> impl Iterator<Item = Timed> + '_ {
        let first = latency::FIRST_AUDIO;
        let ends = (!self.ends.is_empty()).then(|| ProviderResult::WordEnds(Arc::clone(&self.ends)));
        let ends = ends.map(|result| Timed { after: first, result });
        let at = move |frame: u64| Micros(first.0 + frame * latency::NEXT_AUDIO.0);
        let frames = (0..).zip(self.frames.iter());
        let frames =
            frames.map(move |(place, frame)| Timed { after: at(place), result: ProviderResult::Audio(frame.clone()) });
        let end = Timed { after: at(self.frames.len() as u64), result: ProviderResult::End(Outcome::Success) };
        ends.into_iter().chain(frames).chain([end])
    }
}

/// Texts that are kept.
const MAX_KEPT_TEXTS: usize = 64;
/// A longer one is not.
const MAX_KEPT_CHARS: usize = 400;

impl ToneVoice {
    fn speech(&self, text: &Arc<str>) -> Speech {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(speech) = kept.get(text) {
            return speech.clone();
        }
        let speech = Speech::of(text);
        if text.len() <= MAX_KEPT_CHARS {
            if kept.len() == MAX_KEPT_TEXTS {
                kept.pop_first();
            }
            kept.insert(Arc::clone(text), speech.clone());
        }
        speech
    }
}

impl Provider for ToneVoice {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Speak { text } = request else { return refuse(answer) };
        if text.len() > MAX_TEXT_BYTES {
            return refuse(answer);
        }
        for Timed { after, result } in self.speech(text).results() {
            match result {
                ProviderResult::End(outcome) => answer.end(after, outcome),
                result => answer.give(after, result),
            }
        }
        Ok(())
    }

    fn another(&self) -> Option<Box<dyn Provider>> {
        Some(Box::new(self.clone()))
    }
}

/// The answer to a text: its tones in frames, each at its time, and the end.
pub(crate) fn tones_in_frames(text: &str) -> Vec<Timed> {
    Speech::of(text).results().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::answered;

    #[test]
    fn words_fall_into_syllables() {
        for (word, expected) in [
            ("open", "o-pen"),
            ("Monday", "mo-nday"),
            ("a", "a"),
            ("why", "why"),
            ("strength", "strength"),
            ("7", "7"),
            ("brrr", "brrr"),
            ("table", "ta-ble"),
        ] {
            assert_eq!(syllables(word).join("-"), expected, "{word}");
        }
    }

    #[test]
    fn it_lasts_about_as_long_as_speech() {
        let text = "We are open from noon until ten in the evening, and the kitchen closes an hour before.";
        let seconds = tones(text).len() as f64 / f64::from(CALL_RATE_HZ);
        let letters_a_second = text.chars().count() as f64 / seconds;
        assert!((13.0..=16.0).contains(&letters_a_second), "{letters_a_second:.1} letters a second");
    }

    #[test]
    fn tones_are_soft_and_swell_from_silence() {
        let samples = tones("hello, world");
        assert!(samples.iter().all(|sample| f64::from(sample.unsigned_abs()) <= PEAK));
        assert!(samples.iter().any(|sample| sample.unsigned_abs() > 2_000), "it can be heard");
        let steepest = samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        assert!(steepest < Some(1_500), "no clicks: {steepest:?}");
        assert_eq!(samples.first(), Some(&0));
    }

    #[test]
    fn the_text_decides_the_pitch_and_the_same_text_sounds_the_same() {
        assert_eq!(tones("where are you"), tones("where are you"));
        assert_ne!(tones("where are you"), tones("where are yoy"));
        for nothing in ["", " \n", "...", "- !"] {
            assert!(tones(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn words_end_with_their_last_tone() {
        let (samples, ends) = tones_and_ends(" well,  on \u{fc}ber - ten.");
        let chars: Vec<u32> = ends.iter().map(|end| end.chars).collect();
        assert_eq!(chars, [6, 10, 15, 17, 22]);
        for end in &ends {
            let at = end.samples as usize;
            assert!(samples[at..at + samples_of(LETTER_MS)].iter().all(|sample| *sample == 0), "a pause follows");
        }
        let last = ends.last().map(|end| end.samples as usize + samples_of(2 * LETTER_MS + SENTENCE_MS));
        assert_eq!(last, Some(samples.len()), "with the last pause all of it has been heard");
        assert!(ends.is_sorted_by_key(|end| end.samples));
    }

    #[test]
    fn a_request_is_answered_with_frames_of_20_ms() {
        let results =
            answered(|answer| ToneVoice::default().invoke(&Request::Speak { text: "thank you".into() }, answer));
        let (last, results) = results.split_last().expect("there is an end");
        let (ends, frames) = results.split_first().expect("there are words");
        assert!(matches!(&ends.result, ProviderResult::WordEnds(ends) if ends.len() == 2));
        assert_eq!(last.result, ProviderResult::End(Outcome::Success));
        let audio = |timed: &Timed| match &timed.result {
            ProviderResult::Audio(frame) => frame.samples.to_vec(),
            other => panic!("{other:?} is no audio"),
        };
        assert!(frames.iter().all(|timed| audio(timed).len() <= FRAME_SAMPLES));
        assert_eq!(frames.iter().flat_map(audio).collect::<Vec<i16>>(), tones("thank you"));
        let empty = answered(|answer| ToneVoice::default().invoke(&Request::Speak { text: " ".into() }, answer));
        assert_eq!(empty.len(), 1);
    }
}
