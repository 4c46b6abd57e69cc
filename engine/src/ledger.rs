//! The heard ledger: what the caller heard of each answer, to the sample and in whole words.
//!
//! Positions are samples of the turn's audio. The transport's acknowledgements say what was heard; where it
//! stays silent, the pacer's own playhead is taken, and marked as an estimate. The conversation's context,
//! and so the next request to the model, holds what was heard and nothing else.

use std::sync::Arc;

use rspp_specs::event::{AudioFrame, ContextEntry, ToolCall};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::limits::MAX_CONTEXT_ENTRIES;
use rspp_specs::time::Micros;

/// Characters a second that speech is taken to have, as long as its length is unknown.
const NOMINAL_SPEECH_CHARS_PER_SECOND: u64 = 15;

/// A place in a turn's audio up to which the caller has heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) samples: u64,
    pub(crate) estimated: bool,
}

/// One turn's audio, from its first chunk of text to the last sample heard.
#[derive(Debug)]
pub(crate) struct Playback {
    pub(crate) turn: TurnId,
    speeches: Vec<Speech>,
    rate_hz: u32,
    sent_samples: u64,
    /// When all that was sent will have played, by the pacer's clock.
    playhead_end: Micros,
    heard_samples: u64,
    pub(crate) started: bool,
    /// Whether anything was sent since the transport was told to clear, or playout went back.
    sounding: bool,
    /// Set from the moment the transport is told to clear until something is sent again.
    cleared_at: Option<Micros>,
    /// Where playing stopped, once known.
    stopped: Option<Position>,
    pub(crate) ending: Ending,
}

/// Whether more of the turn may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The turn is active.
    Open,
    /// All was sent; the caller will hear it.
    Committed,
    /// The turn was cut.
    Cut,
}

#[derive(Debug)]
struct Speech {
    by: InvocationId,
    text: Arc<str>,
    samples: u64,
    /// All of its audio has come.
    complete: bool,
    /// No more of its audio will come, and there is text that was not spoken.
    withdrawn: bool,
}

impl Playback {
    pub(crate) fn new(turn: TurnId) -> Self {
        Self {
            turn,
            speeches: Vec::new(),
            rate_hz: 16_000,
            sent_samples: 0,
            playhead_end: Micros(0),
            heard_samples: 0,
            started: false,
            sounding: false,
            cleared_at: None,
            stopped: None,
            ending: Ending::Open,
        }
    }

    /// A chunk of text is being spoken.
    pub(crate) fn on_speak(&mut self, by: InvocationId, text: &Arc<str>) {
        self.speeches.push(Speech { by, text: Arc::clone(text), samples: 0, complete: false, withdrawn: false });
    }

    /// A chunk of which nothing was heard is spoken by another invocation, in its place.
    pub(crate) fn on_respeak(&mut self, failed: InvocationId, by: InvocationId) {
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == failed) {
            speech.by = by;
        }
    }

    /// Audio of a chunk came in.
    pub(crate) fn on_audio(&mut self, by: InvocationId, frame: &AudioFrame) {
        self.rate_hz = frame.rate_hz;
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == by) {
            speech.samples += frame.samples.len() as u64;
        }
    }

    /// All audio of a chunk has come.
    pub(crate) fn on_spoken(&mut self, by: InvocationId) {
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == by) {
            speech.complete = true;
        }
    }

    /// No more audio of a chunk comes, although there should be more.
    pub(crate) fn on_withdrawn(&mut self, by: InvocationId) {
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == by) {
            speech.withdrawn = true;
        }
    }

    /// A frame passes egress; its place in the turn's audio.
    pub(crate) fn on_transmit(&mut self, now: Micros, frame: &AudioFrame) -> u64 {
        let from = self.sent_samples;
        self.rate_hz = frame.rate_hz;
        self.sent_samples += frame.samples.len() as u64;
        self.playhead_end = self.playhead_end.max(now) + frame.duration();
        self.sounding = true;
        self.cleared_at = None;
        self.stopped = None;
        from
    }

    /// Whether nothing was sent yet, apart from what was taken back.
    pub(crate) fn is_silent(&self) -> bool {
        self.sent_samples == 0
    }

    /// Whether the transport may still have something to play, or to clear.
    pub(crate) fn is_sounding(&self) -> bool {
        self.sounding && self.heard_samples < self.sent_samples
    }

    /// The transport is told to clear.
    pub(crate) fn on_clear(&mut self, now: Micros) {
        self.sounding = false;
        self.cleared_at = Some(now);
        self.stopped = None;
    }

    /// The transport is told to clear once more: it may not have heard the first word. What was unknown stays unknown, and
    /// what was estimated from the first word's time still is.
    pub(crate) fn on_clear_again(&mut self, now: Micros) {
        self.sounding = false;
        self.cleared_at.get_or_insert(now);
    }

    /// The transport says how far the caller has heard; nonsense is cut to what was sent.
    pub(crate) fn on_heard(&mut self, samples: u64) {
        self.heard_samples = self.heard_samples.max(samples.min(self.sent_samples));
    }

    /// The transport says where it stopped. A second word changes nothing, and what was heard before stays heard.
    pub(crate) fn on_cleared(&mut self, samples: u64) {
        self.on_heard(samples);
        if self.cleared_at.is_some() && self.stopped.is_none() {
            self.stopped = Some(Position { samples: self.heard_samples, estimated: false });
        }
    }

    /// What the pacer's playhead says was heard at `at`.
    pub(crate) fn estimate(&self, at: Micros) -> Position {
        let ahead = self.playhead_end.since(at).to_samples(self.rate_hz);
        let samples = self.sent_samples.saturating_sub(ahead).max(self.heard_samples);
        Position { samples, estimated: true }
    }

    /// Where playing stopped, as far as it is known without guessing.
    pub(crate) fn known_position(&self) -> Option<Position> {
        if self.heard_samples >= self.sent_samples {
            return Some(Position { samples: self.sent_samples, estimated: false });
        }
        // The word of an earlier clear may come after a later one was asked for; then more was heard than it says.
        let heard = Position { samples: self.heard_samples, estimated: false };
        self.stopped.map(|stopped| if stopped.samples < heard.samples { heard } else { stopped })
    }

    /// The transport did not say in time: the pacer's playhead at the moment of the clear stands.
    pub(crate) fn settle(&mut self, now: Micros) -> Position {
        let position = self.known_position().unwrap_or_else(|| self.estimate(self.cleared_at.unwrap_or(now)));
        self.stopped = Some(position);
        position
    }

    /// What the caller will have heard if nobody takes anything back: all that was sent.
    pub(crate) fn plays_out(&self) -> Position {
        self.known_position().unwrap_or(Position { samples: self.sent_samples, estimated: true })
    }

    /// Whether some of the text was never spoken.
    pub(crate) fn lacks_words(&self) -> bool {
        self.speeches.iter().any(|speech| speech.withdrawn)
    }

    /// Whether some of what was sent lies behind this position.
    pub(crate) fn is_short(&self, position: Position) -> bool {
        position.samples < self.sent_samples
    }

    /// Goes back to `position`: what is behind it will be sent again.
    pub(crate) fn rewind(&mut self, now: Micros, position: Position) {
        self.sent_samples = position.samples;
        self.heard_samples = self.heard_samples.min(position.samples);
        self.playhead_end = now;
        self.sounding = false;
        self.cleared_at = None;
        // Until something is sent again, the caller has heard this and no more.
        self.stopped = Some(position);
    }

    /// Whether all that was sent is known to be heard.
    pub(crate) fn is_drained(&self) -> bool {
        self.heard_samples >= self.sent_samples
    }

    /// When the pacer's playhead reaches the end of what was sent.
    pub(crate) fn plays_until(&self) -> Micros {
        self.playhead_end
    }

    /// The words up to `position`, cut back to whole ones.
    pub(crate) fn text_until(&self, position: Position) -> String {
        let mut start = 0;
        let mut heard = String::new();
        for speech in &self.speeches {
            let whole = self.whole_length_of(speech);
            let length = if speech.withdrawn { speech.samples } else { whole };
            let part = if speech.complete && position.samples >= start + length {
                speech.text.as_ref()
            } else {
                whole_words(&speech.text, position.samples.saturating_sub(start).min(length), whole)
            };
            if !part.is_empty() {
                if !heard.is_empty() {
                    heard.push(' ');
                }
                heard.push_str(part);
            }
            start += length;
        }
        heard
    }

    /// The samples of all of a speech: known once all of it has come, until then at least what its text suggests.
    fn whole_length_of(&self, speech: &Speech) -> u64 {
        if speech.complete {
            return speech.samples;
        }
        let chars = speech.text.chars().count() as u64;
        speech.samples.max(chars * u64::from(self.rate_hz) / NOMINAL_SPEECH_CHARS_PER_SECOND)
    }
}

/// The first `heard / length` of the characters, cut back to whole words.
fn whole_words(text: &str, heard: u64, length: u64) -> &str {
    if length == 0 {
        return "";
    }
    let chars = text.chars().count() as u64;
    let count = (chars * heard.min(length) / length) as usize;
    let Some((cut, next)) = text.char_indices().nth(count) else { return text };
    let before = text[..cut].chars().next_back();
    let splits_a_word = next.is_alphanumeric() && before.is_some_and(char::is_alphanumeric);
    if !splits_a_word {
        return text[..cut].trim_end();
    }
    text[..cut].rfind(|c: char| !c.is_alphanumeric() && c != '\'').map_or("", |end| text[..end].trim_end())
}

/// The conversation as the caller has lived it.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    entries: Vec<ContextEntry>,
}

impl Conversation {
    pub(crate) fn push(&mut self, entry: ContextEntry) {
        if self.entries.len() == MAX_CONTEXT_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }

    /// A tool's result arrived; the entry of its call gets it.
    pub(crate) fn on_tool_result(&mut self, key: &str, content: &Arc<str>) {
        let pending = self.entries.iter_mut().rev().find_map(|entry| match entry {
            ContextEntry::Tool { call: ToolCall { key: of, .. }, result } if **of == *key => Some(result),
            _ => None,
        });
        if let Some(result) = pending {
            *result = Some(Arc::clone(content));
        }
    }

    /// A tool failed; what it said itself stands, if it said something.
    pub(crate) fn on_tool_failed(&mut self, key: &str, content: &Arc<str>) {
        let is_silent = self.entries.iter().rev().find_map(|entry| match entry {
            ContextEntry::Tool { call, result } if *call.key == *key => Some(result.is_none()),
            _ => None,
        });
        if is_silent == Some(true) {
            self.on_tool_result(key, content);
        }
    }

    /// As it stands now.
    pub(crate) fn snapshot(&self) -> Arc<[ContextEntry]> {
        self.entries.as_slice().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_cut_back_to_whole_words() {
        let text = "We open at noon.";
        let cut = |heard| whole_words(text, heard, 16);
        let shown: Vec<&str> = (0..=16).map(cut).collect();
        assert_eq!(shown[..4], ["", "", "We", "We"]);
        assert_eq!(shown[6], "We");
        assert_eq!(shown[7], "We open");
        assert_eq!(shown[14], "We open at");
        assert_eq!(shown[15], "We open at noon");
        assert_eq!(shown[16], "We open at noon.");
        assert_eq!(whole_words("", 1, 0), "");
    }

    #[test]
    fn what_a_failed_tool_said_itself_stands() {
        let result = |words: Option<&str>| {
            let mut conversation = Conversation::default();
            let call = ToolCall { key: "a".into(), name: "book".into(), arguments: "{}".into() };
            conversation.push(ContextEntry::Tool { call, result: None });
            if let Some(words) = words {
                conversation.on_tool_result("a", &words.into());
            }
            conversation.on_tool_failed("a", &"it failed".into());
            match &conversation.snapshot()[0] {
                ContextEntry::Tool { result, .. } => result.as_ref().map(ToString::to_string),
                _ => None,
            }
        };
        assert_eq!(result(None).as_deref(), Some("it failed"));
        assert_eq!(result(Some("no table")).as_deref(), Some("no table"));
    }

    #[test]
    fn of_a_voice_that_broke_off_only_what_it_can_have_said_was_heard() {
        let mut playback = Playback::new(TurnId(1));
        let frame = |n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: None };
        let (first, second) = (InvocationId(1), InvocationId(2));
        playback.on_speak(first, &"fifteen letters and as many behind".into());
        playback.on_speak(second, &"Yes.".into());
        for (by, samples) in [(first, 16_000), (second, 8_000)] {
            playback.on_audio(by, &frame(samples));
            playback.on_transmit(Micros(0), &frame(samples));
        }
        playback.on_withdrawn(first);
        playback.on_spoken(second);
        let until = |samples| playback.text_until(Position { samples, estimated: false });
        assert_eq!(until(16_000), "fifteen letters");
        assert_eq!(until(24_000), "fifteen letters Yes.");
    }

    #[test]
    fn an_estimate_never_falls_behind_what_was_acknowledged() {
        let frame = |n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: None };
        let mut playback = Playback::new(TurnId(1));
        playback.on_transmit(Micros(0), &frame(320));
        playback.on_transmit(Micros(0), &frame(320));
        assert_eq!(playback.estimate(Micros::from_ms(10)).samples, 160);
        playback.on_heard(400);
        assert_eq!(playback.estimate(Micros::from_ms(10)).samples, 400);
        playback.on_heard(99_999);
        assert_eq!(playback.known_position(), Some(Position { samples: 640, estimated: false }));
    }

    #[test]
    fn a_clear_that_is_answered_late_is_not_the_answer_to_the_next() {
        let mut playback = Playback::new(TurnId(1));
        let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
        playback.on_transmit(Micros(0), &frame);
        playback.on_clear(Micros::from_ms(5));
        let position = playback.settle(Micros::from_ms(5));
        playback.rewind(Micros::from_ms(5), position);
        playback.on_transmit(Micros::from_ms(5), &frame);
        playback.on_clear(Micros::from_ms(20));
        playback.on_cleared(60);
        playback.on_cleared(300);
        assert_eq!(playback.known_position(), Some(Position { samples: 300, estimated: false }));
    }

    #[test]
    fn after_going_back_nothing_is_in_the_transport_and_the_position_is_known() {
        let mut playback = Playback::new(TurnId(1));
        let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
        playback.on_transmit(Micros(0), &frame);
        playback.on_clear(Micros::from_ms(10));
        let position = playback.settle(Micros::from_ms(300));
        assert_eq!(position, Position { samples: 160, estimated: true });
        playback.rewind(Micros::from_ms(300), position);
        assert!(!playback.is_sounding());
        assert_eq!(playback.known_position(), Some(position));
        playback.on_transmit(Micros::from_ms(310), &frame);
        assert!(playback.is_sounding());
        assert_eq!(playback.known_position(), None);
    }

    #[test]
    fn a_transport_that_stopped_before_what_it_acknowledged_takes_nothing_back() {
        let mut playback = Playback::new(TurnId(1));
        playback.on_transmit(Micros(0), &AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None });
        playback.on_heard(200);
        playback.on_clear(Micros::from_ms(15));
        playback.on_cleared(120);
        assert_eq!(playback.known_position(), Some(Position { samples: 200, estimated: false }));
    }
}
