//! Engines at work: each voice says a few sentences, and each recogniser hears what each voice said.

use std::time::{Duration, Instant};

use rspp_specs::event::AudioFrame;

use super::{Engine, EngineFiles, Found, Machine};
use crate::audio::{CALL_RATE_HZ, CallAudio, Rechunker, frames};
use crate::dialogue::{Dialogue, RESTAURANT};
use crate::provider::Kind;
use crate::wyoming::{Connection, Heard, Ordering, Recogniser, RecogniserOptions, SpokenAudio, Synthesiser, Timeouts};

/// What is said: sentences of the bundled dialogue, whose grammar the bundled recogniser gets.
pub const SENTENCES: [&str; 3] =
    ["what time do you open on monday", "book a table for four at half past seven", "cancel my booking"];
/// How long a voice may be silent.
const VOICE_TIMEOUT: Duration = Duration::from_secs(20);
/// Silence before and behind what is said, as a voice activity detector leaves it.
const LEAD_SAMPLES: usize = CALL_RATE_HZ as usize / 5;
const TAIL_SAMPLES: usize = CALL_RATE_HZ as usize / 2;
/// Engines of a kind that are tried.
const MAX_ENGINES: usize = 8;

/// What came of a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// Each voice.
    pub voices: Vec<Tried<Spoke>>,
    /// Each recogniser with each voice that spoke.
    pub recognisers: Vec<Tried<Understood>>,
}

/// One engine that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried<T> {
    /// Its name.
    pub name: String,
    /// Whom it heard; empty for a voice.
    pub voice: String,
    /// What it did, or why it did not.
    pub result: Result<T, String>,
}

/// A voice at work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spoke {
    /// From the text to the first samples, on average.
    pub first_audio: Duration,
    /// What it said, altogether.
    pub speech: Duration,
}

/// A recogniser at work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Understood {
    /// Words that were said.
    pub words: usize,
    /// Words to insert, delete or replace in what was understood.
    pub wrong: usize,
    /// From the end of the audio to the final transcript, on average.
    pub last_word: Duration,
}

impl Understood {
    /// Of 100 words, those that were right.
    pub fn accuracy(&self) -> f64 {
        100.0 * (1.0 - self.wrong as f64 / self.words.max(1) as f64).max(0.0)
    }
}

impl Checked {
    /// Whether a voice spoke, or a recogniser understood at least half of what it heard.
    pub fn anything_works(&self) -> bool {
        self.voices.iter().any(|tried| tried.result.is_ok())
            || self.recognisers.iter().any(|tried| tried.result.as_ref().is_ok_and(|it| it.accuracy() >= 50.0))
    }
}

/// Has the engines that were found work.
pub fn check(machine: &Machine, found: &Found) -> Checked {
    let mut files = EngineFiles::of(machine);
    let mut checked = Checked::default();
    let mut speech = Vec::new();
    for engine in found.working(Kind::Voice).take(MAX_ENGINES) {
        let spoke = open(&mut files, engine).and_then(speak);
        let result = match spoke {
            Ok((spoke, audio)) => {
                speech.push((engine.name.clone(), audio));
                Ok(spoke)
            }
            Err(error) => Err(error),
        };
        checked.voices.push(Tried { name: engine.name.clone(), voice: String::new(), result });
    }
    for engine in found.working(Kind::Recogniser).take(MAX_ENGINES) {
        for (voice, audio) in &speech {
            let result = open(&mut files, engine).and_then(|connection| hear(connection, ordering(engine), audio));
            checked.recognisers.push(Tried { name: engine.name.clone(), voice: voice.clone(), result });
        }
    }
    checked
}

fn open(files: &mut EngineFiles, engine: &Engine) -> Result<Connection, String> {
    let grammar = || Dialogue::parse(RESTAURANT).map(|dialogue| dialogue.grammar()).map_err(|error| error.to_string());
    let said = |error: &dyn std::error::Error| error.to_string();
    match engine.binding.strip_prefix("bundled:") {
        Some("pocketsphinx") => files.pocketsphinx(&grammar()?).map_err(|error| said(&error)),
        Some(voice) => files.voice(voice).map_err(|error| said(&error)),
        None => Connection::connect(&engine.place, Timeouts::default()).map_err(|error| said(&error)),
    }
}

fn ordering(engine: &Engine) -> Ordering {
    let ours = engine.binding.starts_with("bundled:") || engine.binding.ends_with("#in-order");
    if ours { Ordering::InOrder } else { Ordering::Unknown }
}

/// What a voice did, and the frames of each sentence.
type Said = (Spoke, Vec<Vec<AudioFrame>>);

fn speak(connection: Connection) -> Result<Said, String> {
    let mut voice = Synthesiser::new(connection, VOICE_TIMEOUT);
    let (mut waited, mut speech) = (Duration::ZERO, Duration::ZERO);
    let mut said = Vec::new();
    for sentence in SENTENCES {
        let started = Instant::now();
        let (mut first, mut audio) = (None, SpokenAudio::default());
        let take = |chunk: crate::wyoming::SpokenChunk| {
            first.get_or_insert_with(|| started.elapsed());
            audio.rate_hz = chunk.rate_hz;
            audio.samples.extend(chunk.samples);
        };
        voice.speak_each(sentence, None, take).map_err(|error| error.to_string())?;
        let Some(first) = first.filter(|_| audio.samples.iter().any(|sample| sample.unsigned_abs() > 500)) else {
            return Err("it answers with silence".to_owned());
        };
        waited += first;
        speech += Duration::from_secs_f64(audio.samples.len() as f64 / f64::from(audio.rate_hz));
        said.push(call_frames(&audio)?);
    }
    Ok((Spoke { first_audio: waited / SENTENCES.len() as u32, speech }, said))
}

/// As the caller's side of a call, with silence around it.
fn call_frames(audio: &SpokenAudio) -> Result<Vec<AudioFrame>, String> {
    let mut rechunker = Rechunker::new(CALL_RATE_HZ).map_err(|error| error.to_string())?;
    let mut converted = rechunker.push_pcm(&audio.samples, audio.rate_hz, None).map_err(|error| error.to_string())?;
    converted.extend(rechunker.finish());
    let said = converted.iter().flat_map(|frame| frame.samples.iter().copied());
    let silence = |samples| std::iter::repeat_n(0, samples);
    let samples: Vec<i16> = silence(LEAD_SAMPLES).chain(said).chain(silence(TAIL_SAMPLES)).collect();
    Ok(frames(&CallAudio { samples, notes: Vec::new() }).collect())
}

fn hear(connection: Connection, ordering: Ordering, said: &[Vec<AudioFrame>]) -> Result<Understood, String> {
    let mut recogniser = Recogniser::new(connection, RecogniserOptions::new(ordering));
    let mut understood = Understood { words: 0, wrong: 0, last_word: Duration::ZERO };
    for (sentence, frames) in SENTENCES.iter().zip(said) {
        let fail = |error: crate::wyoming::WyomingError| error.to_string();
        recogniser.start(CALL_RATE_HZ).map_err(fail)?;
        for frame in frames {
            recogniser.send_audio(frame).map_err(fail)?;
        }
        let ended = Instant::now();
        let heard = recogniser.finish().map_err(fail)?;
        understood.last_word += ended.elapsed() / SENTENCES.len() as u32;
        let text = heard.into_iter().find_map(|heard| match heard {
            Heard::Final(text) => Some(text),
            _ => None,
        });
        understood.words += words(sentence).len();
        understood.wrong += word_errors(&words(sentence), &words(&text.unwrap_or_default()));
    }
    Ok(understood)
}

/// The words of a text, without its signs and its capitals.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

/// Words to insert, delete or replace.
fn word_errors(wanted: &[String], got: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=got.len()).collect();
    for (i, word) in wanted.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in got.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[got.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_without_signs_and_capitals() {
        for (wanted, got, wrong) in [
            ("cancel my booking", "Cancel my booking.", 0),
            ("cancel my booking", "", 3),
            ("cancel my booking", "cancel the booking please", 2),
            ("what's today's special", "What's today's special?", 0),
            ("a b c", "b c d", 2),
        ] {
            assert_eq!(word_errors(&words(wanted), &words(got)), wrong, "{wanted} / {got}");
        }
    }

    #[test]
    fn something_works_if_a_voice_speaks_or_half_of_the_words_are_right() {
        let understood = |wrong| Understood { words: 10, wrong, last_word: Duration::ZERO };
        let tried = |result| Tried { name: "a".to_owned(), voice: "b".to_owned(), result };
        let of = |result| Checked { voices: Vec::new(), recognisers: vec![tried(result)] };
        assert!(of(Ok(understood(5))).anything_works());
        assert!(!of(Ok(understood(6))).anything_works());
        assert!(!of(Err("it died".to_owned())).anything_works());
        assert!(!Checked::default().anything_works());
        assert!((understood(14).accuracy() - 0.0).abs() < f64::EPSILON, "no less than nothing");
    }
}
