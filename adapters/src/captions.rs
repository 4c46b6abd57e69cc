//! Captions in a recogniser's place: a file says what is said and when, and each utterance is answered with the
//! words that were said in it.
//!
//! It recognises nothing and does not pretend to: it is for calls whose words are known beforehand, on machines where
//! no recogniser can be had. What it says depends on the file and on the place of the audio in the call alone.
//!
//! ```
//! use rspp_adapters::captions::Captions;
//! use rspp_specs::time::Micros;
//!
//! let captions = Captions::parse("kind: Captions\ncaptions:\n  - {from_ms: 500, to_ms: 1500, words: where are you}\n")?;
//! assert_eq!(captions.said(Micros(0), Micros::from_ms(2_000)), "where are you");
//! assert_eq!(captions.said(Micros(0), Micros::from_ms(1_000)), "where");
//! assert_eq!(captions.said(Micros::from_ms(1_500), Micros::from_ms(9_000)), "");
//! # Ok::<(), rspp_adapters::captions::CaptionsError>(())
//! ```

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_specs::event::{AudioFrame, ProviderResult, Request, Transcript, Understanding};
use rspp_specs::ids::UtteranceId;
use rspp_specs::limits::MAX_SPEC_BYTES;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::audio::MAX_CALL_SECONDS;
use crate::dialogue::Finding;
use crate::provider::{Answer, Provider, ProviderError, latency, refuse};

/// Captions of one file.
const MAX_CAPTIONS: usize = 10_000;
/// The words of one caption.
const MAX_CAPTION_BYTES: usize = 1_000;
/// A time in the file: as far as a call is read from one.
const MAX_MS: u64 = MAX_CALL_SECONDS * 1_000;
/// Findings that are told at once.
const MAX_FINDINGS: usize = 20;

/// What is said in a call, and when: read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captions {
    /// By time; no two overlap.
    words: Vec<Word>,
}

/// One word, at the stretch of the caption that its letters take.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    from: Micros,
    to: Micros,
    text: String,
}

impl Word {
    fn middle(&self) -> Micros {
        Micros((self.from.0 + self.to.0) / 2)
    }
}

/// Why a text is no captions file: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CaptionsError {
    /// In the order of the text; never empty.
    pub findings: Vec<Finding>,
}

/// A line for each finding.
impl fmt::Display for CaptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Finding { line, column, message }) in self.findings.iter().enumerate() {
            write!(f, "{}line {line}, column {column}: {message}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Why a captions file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptionsFileError {
    /// It can't be read.
    #[error("the captions {}: {error}; paths in bindings are looked for beside the spec", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It makes no sense.
    #[error("{}: {error}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Why.
        error: CaptionsError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptionsFile {
    kind: Spanned<String>,
    captions: Vec<Spanned<Caption>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caption {
    from_ms: u64,
    to_ms: u64,
    words: String,
}

impl Captions {
    /// Reads a captions file.
    ///
    /// # Errors
    /// The file, or all that is wrong with its text.
    pub fn read(path: &Path) -> Result<Self, CaptionsFileError> {
        // One byte more than is taken, by which too long a text is known.
        let read = |file: File| {
            let mut text = String::new();
            file.take(MAX_SPEC_BYTES as u64 + 1).read_to_string(&mut text).map(|_| text)
        };
        let text = File::open(path).and_then(read);
        let text = text.map_err(|error| CaptionsFileError::Unreadable { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|error| CaptionsFileError::Wrong { path: path.to_owned(), error })
    }

    /// Reads the YAML text of a captions file, of at most 1 MiB: `kind: Captions`, and `captions`, a list of
    /// `{from_ms, to_ms, words}` in the order of their times, in milliseconds of the caller's audio.
    ///
    /// # Errors
    /// All that is wrong with it at once, each with its line; of what has another form, the first.
    pub fn parse(text: &str) -> Result<Self, CaptionsError> {
        let one = |line, column, message| CaptionsError { findings: vec![Finding { line, column, message }] };
        if text.len() > MAX_SPEC_BYTES {
            return Err(one(1, 1, format!("the file has {} bytes, and at most {MAX_SPEC_BYTES} are read", text.len())));
        }
        let file: CaptionsFile = serde_saphyr::from_str(text).map_err(|error| {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            let message = error.without_snippet().to_string();
            let message = message.replace(&format!(" at line {}, column {}", at.line(), at.column()), "");
            one(at.line(), at.column(), message)
        })?;
        let findings = findings(&file);
        if findings.is_empty() {
            Ok(Self { words: file.captions.iter().flat_map(|caption| timed_words(&caption.value)).collect() })
        } else {
            Err(CaptionsError { findings })
        }
    }

    /// The words whose middle is in a stretch of the caller's audio, joined with spaces.
    pub fn said(&self, from: Micros, until: Micros) -> String {
        let words: Vec<&str> = self.within(from, until).map(|word| word.text.as_str()).collect();
        words.join(" ")
    }

    /// The words that are over by `until`: what a recogniser may already know of a stretch.
    fn over(&self, from: Micros, until: Micros) -> (usize, String) {
        let words: Vec<&str> =
            self.within(from, until).filter(|word| word.to <= until).map(|word| word.text.as_str()).collect();
        (words.len(), words.join(" "))
    }

    fn within(&self, from: Micros, until: Micros) -> impl Iterator<Item = &Word> {
        let first = self.words.partition_point(|word| word.middle() < from);
        self.words[first..].iter().take_while(move |word| word.middle() < until)
    }
}

fn findings(file: &CaptionsFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |at: Location, message: String| {
        if findings.len() < MAX_FINDINGS {
            findings.push(Finding { line: at.line(), column: at.column(), message });
        }
    };
    if file.kind.value != "Captions" {
        find(file.kind.referenced, format!("the kind is `{}`; a captions file says `kind: Captions`", file.kind.value));
    }
    if file.captions.len() > MAX_CAPTIONS {
        let message = format!("{} captions, and at most {MAX_CAPTIONS} are taken", file.captions.len());
        find(file.kind.referenced, message);
    }
    let mut before = 0;
    for caption in &file.captions {
        let (at, Caption { from_ms, to_ms, words }) = (caption.referenced, &caption.value);
        if from_ms >= to_ms || *to_ms > MAX_MS {
            find(at, format!("{from_ms} to {to_ms} ms is no stretch of a call; from_ms < to_ms <= {MAX_MS}"));
        } else if *from_ms < before {
            find(at, format!("it begins at {from_ms} ms, before the one above it ends; write them in order, apart"));
        }
        if words.trim().is_empty() || words.len() > MAX_CAPTION_BYTES {
            find(at, format!("words are 1 to {MAX_CAPTION_BYTES} bytes; leave a silence out"));
        }
        before = before.max(*to_ms);
    }
    findings
}

/// A caption's words, each with the share of its time that its letters are of all letters.
fn timed_words(caption: &Caption) -> Vec<Word> {
    let letters = |word: &str| word.chars().count() as u64 + 1;
    let all: u64 = caption.words.split_whitespace().map(letters).sum();
    let (start, length) = (caption.from_ms * 1_000, (caption.to_ms - caption.from_ms) * 1_000);
    let mut passed = 0;
    let place = |word: &str| {
        let from = Micros(start + length * passed / all);
        passed += letters(word);
        Word { from, to: Micros(start + length * passed / all), text: word.to_owned() }
    };
    caption.words.split_whitespace().map(place).collect()
}

/// The recogniser of one session: binding `captions:FILE`.
pub(crate) struct CaptionsRecogniser {
    captions: Arc<Captions>,
    from: Micros,
    heard_until: Micros,
    words: usize,
}

impl CaptionsRecogniser {
    pub(crate) fn new(captions: Captions) -> Self {
        Self::of(Arc::new(captions))
    }

    fn of(captions: Arc<Captions>) -> Self {
        Self { captions, from: Micros(0), heard_until: Micros(0), words: 0 }
    }

    fn give(&self, understanding: Understanding, text: String, answer: &mut Answer<'_>) {
        let (utterance, watermark) = (UtteranceId(0), self.heard_until);
        let transcript = Transcript { utterance, understanding, text: text.into(), watermark };
        answer.give(latency::TRANSCRIPT, ProviderResult::Transcript(transcript));
    }
}

impl Provider for CaptionsRecogniser {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Transcribe { media_start, preroll } = request else { return refuse(answer) };
        (self.from, self.heard_until, self.words) = (*media_start, *media_start, 0);
        preroll.iter().try_for_each(|frame| self.feed(frame, answer))
    }

    fn feed(&mut self, frame: &AudioFrame, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        self.heard_until = self.heard_until + frame.duration();
        let (words, text) = self.captions.over(self.from, self.heard_until);
        let is_news = words > self.words;
        self.words = words;
        if is_news {
            self.give(Understanding::Partial, text, answer);
        }
        Ok(())
    }

    fn feed_end(&mut self, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let text = self.captions.said(self.from, self.heard_until);
        let understanding = if text.is_empty() { Understanding::Empty } else { Understanding::Words };
        self.give(understanding, text, answer);
        answer.end(latency::TRANSCRIPT, Outcome::Success);
        Ok(())
    }

    fn another(&self) -> Option<Box<dyn Provider>> {
        Some(Box::new(Self::of(Arc::clone(&self.captions))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Timed, answered};

    const TWO: &str = "kind: Captions\ncaptions:\n  - {from_ms: 600, to_ms: 1800, words: when do you open}\n  \
                       - {from_ms: 3000, to_ms: 3500, words: thank you}\n";

    fn check(text: &str, contains: &[&str]) {
        let error = Captions::parse(text).expect_err("each of them is wrong").to_string();
        assert_eq!(error.lines().count(), contains.len(), "{error}");
        error.lines().zip(contains).for_each(|(line, part)| assert!(line.contains(part), "no `{part}` in: {line}"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check("", &["line "]);
        check("kind: Captions\n", &["captions"]);
        check("kind: Captions\ncaptions:\n  - {from_ms: 1, to_ms: 2, word: a}\n", &["line 3"]);
        check("kind: Captions\ncaptions:\n  - {from_ms: -1, to_ms: 2, words: a}\n", &["line 3"]);
        check("kind: Dialogue\ncaptions: []\n", &["line 1, column 7: the kind is `Dialogue`"]);
        check(
            "kind: Captions\ncaptions:\n  - {from_ms: 5, to_ms: 5, words: a}\n  - {from_ms: 9, to_ms: 20, words: ' '}\n  \
             - {from_ms: 19, to_ms: 30, words: b}\n  - {from_ms: 40, to_ms: 3600001, words: c}\n",
            &["line 3, column 5: 5 to 5 ms", "line 4, column 5: words are", "line 5, column 5: it begins", "line 6"],
        );
        let long = format!("kind: Captions\ncaptions:\n  - {{from_ms: 0, to_ms: 5, words: {}}}\n", "a".repeat(1_001));
        check(&long, &["words are 1 to 1000 bytes"]);
        check(&" ".repeat(MAX_SPEC_BYTES + 1), &["at most 1048576 are read"]);
        let many = "  - {from_ms: 9, to_ms: 1, words: a}\n".repeat(50);
        let error = Captions::parse(&format!("kind: Captions\ncaptions:\n{many}")).expect_err("all of them are wrong");
        assert_eq!(error.findings.len(), MAX_FINDINGS);
    }

    #[test]
    fn a_stretch_has_the_words_whose_middle_is_in_it() {
        let captions = Captions::parse(TWO).expect("it is well formed");
        for (from, until, said) in [
            (0, 4_000, "when do you open thank you"),
            (300, 2_300, "when do you open"),
            (0, 600, ""),
            (0, 1_000, "when"),
            (1_000, 2_000, "do you open"),
            (1_800, 3_000, ""),
            (2_700, 4_000, "thank you"),
            (3_600, 9_000, ""),
        ] {
            assert_eq!(captions.said(Micros::from_ms(from), Micros::from_ms(until)), said, "{from} to {until}");
        }
    }

    fn frame() -> AudioFrame {
        AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None }
    }

    /// What the recogniser says of an utterance, each with the frames heard before it.
    fn hear(recogniser: &mut CaptionsRecogniser, start_ms: u64, preroll: usize, frames: usize) -> Vec<(usize, String)> {
        let request = Request::Transcribe { media_start: Micros::from_ms(start_ms), preroll: vec![frame(); preroll] };
        let mut said = Vec::new();
        let mut take = |at: usize, results: Vec<Timed>| {
            for Timed { result, .. } in results {
                let text = match result {
                    ProviderResult::Transcript(it) => {
                        assert_eq!(it.watermark, Micros::from_ms(start_ms + 20 * at as u64), "it covers all it heard");
                        format!("{:?} {}", it.understanding, it.text)
                    }
                    other => format!("{other:?}"),
                };
                said.push((at, text));
            }
        };
        take(preroll, answered(|answer| recogniser.invoke(&request, answer)));
        for fed in 1..=frames {
            take(preroll + fed, answered(|answer| recogniser.feed(&frame(), answer)));
        }
        take(preroll + frames, answered(|answer| recogniser.feed_end(answer)));
        said
    }

    #[test]
    fn partials_come_as_words_pass_and_a_final_at_the_end() {
        let mut recogniser = CaptionsRecogniser::new(Captions::parse(TWO).expect("it is well formed"));
        let say = |list: &[(usize, &str)]| -> Vec<(usize, String)> {
            list.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
        };
        let end = "End(Success)";
        let whole = [
            (33, "Partial when"),
            (44, "Partial when do"),
            (58, "Partial when do you"),
            (75, "Partial when do you open"),
            (100, "Words when do you open"),
            (100, end),
        ];
        assert_eq!(hear(&mut recogniser, 300, 15, 85), say(&whole));
        assert_eq!(hear(&mut recogniser, 300, 15, 85), say(&whole), "the same audio again");
        assert_eq!(hear(&mut recogniser, 2_000, 15, 10), say(&[(25, "Empty "), (25, end)]));
    }
}
