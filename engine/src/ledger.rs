//! The heard ledger: what the caller heard of each answer, to the sample and in whole words.
//!
//! Positions are samples of the turn's audio. The transport's acknowledgements say what was heard; where it
//! stays silent, the pacer's own playhead is taken, and marked as an estimate. The conversation's context,
//! and so the next request to the model, holds what was heard and nothing else.

use std::sync::Arc;

use rspp_specs::event::{AudioFrame, ContextEntry, ToolCall, WordEnd};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::limits::{MAX_CONTEXT_ENTRIES, MAX_WORD_ENDS};
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
    /// Whose audio was sent, in order: what was dropped on its way, or taken back, is not among it.
    spans: Vec<Span>,
    rate_hz: u32,
    sent_samples: u64,
    /// The most that was ever sent: what playout took back counts here, and is sent again or lost.
    furthest_sent: u64,
    /// When all that was sent will have played, by the pacer's clock.
    playhead_end: Micros,
    heard_samples: u64,
    pub(crate) started: bool,
    /// Whether anything was sent since the transport was told to clear, or playout went back.
    sounding: bool,
    /// Set from the moment the transport is told to clear until something is sent again.
    cleared_at: Option<Micros>,
    /// Where playing stopped, once known. Before anything is sent, that is the beginning.
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

/// A run of the turn's audio that one chunk of text gave.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The place in `speeches`; `None` for what nobody spoke.
    speech: Option<usize>,
    /// The position behind its last sample; its first is where the span before it ends.
    until: u64,
}

/// Spans that are kept apart: speeches that take turns more often than that are told as one.
const MAX_SPANS: usize = 1_024;

#[derive(Debug)]
struct Speech {
    by: InvocationId,
    text: Arc<str>,
    /// As they came; what is sent of them may have another rate.
    samples: u64,
    came_at_hz: u32,
    /// All of its audio has come.
    complete: bool,
    /// No more of its audio will come, and there is text that was not spoken.
    withdrawn: bool,
    /// Where its words end, as its voice says.
    ends: Vec<WordEnd>,
}

impl Playback {
    pub(crate) fn new(turn: TurnId) -> Self {
        Self {
            turn,
            speeches: Vec::new(),
            spans: Vec::new(),
            rate_hz: 16_000,
            sent_samples: 0,
            furthest_sent: 0,
            playhead_end: Micros(0),
            heard_samples: 0,
            started: false,
            sounding: false,
            cleared_at: None,
            stopped: Some(Position { samples: 0, estimated: false }),
            ending: Ending::Open,
        }
    }

    /// A chunk of text is being spoken.
    pub(crate) fn on_speak(&mut self, by: InvocationId, text: &Arc<str>) {
        self.speeches.push(Speech {
            by,
            text: Arc::clone(text),
            samples: 0,
            came_at_hz: self.rate_hz,
            complete: false,
            withdrawn: false,
            ends: Vec::new(),
        });
    }

    /// A chunk of which nothing was heard is spoken by another invocation, in its place.
    pub(crate) fn on_respeak(&mut self, failed: InvocationId, by: InvocationId) {
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == failed) {
            speech.by = by;
            speech.ends.clear();
        }
    }

    /// Audio of a chunk came in.
    pub(crate) fn on_audio(&mut self, by: InvocationId, frame: &AudioFrame) {
        if self.is_silent() {
            self.rate_hz = frame.rate_hz;
        }
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == by) {
            speech.samples += frame.samples.len() as u64;
            speech.came_at_hz = frame.rate_hz;
        }
    }

    /// A voice says where words end. What it says of words that it has told of before counts no more.
    pub(crate) fn on_word_ends(&mut self, by: InvocationId, ends: &[WordEnd]) {
        let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == by) else { return };
        if let Some(first) = ends.first() {
            speech.ends.retain(|known| known.chars < first.chars && known.samples <= first.samples);
        }
        let room = MAX_WORD_ENDS.saturating_sub(speech.ends.len());
        speech.ends.extend(ends.iter().take(room));
    }

    /// All audio of a chunk has come.
    pub(crate) fn on_spoken(&mut self, by: InvocationId) {
        if let Some(speech) = self.speeches.iter_mut().find(|speech| speech.by == by) {
            speech.complete = true;
        }
    }

    /// A chunk of text will never be spoken: nobody was asked to.
    pub(crate) fn on_unspoken(&mut self, text: &Arc<str>) {
        // No invocation has number 0.
        let by = InvocationId(0);
        let text = Arc::clone(text);
        let came_at_hz = self.rate_hz;
        let (samples, complete, withdrawn, ends) = (0, false, true, Vec::new());
        self.speeches.push(Speech { by, text, samples, came_at_hz, complete, withdrawn, ends });
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
        self.note_span(frame);
        self.furthest_sent = self.furthest_sent.max(self.sent_samples);
        self.playhead_end = self.playhead_end.max(now) + frame.duration();
        self.sounding = true;
        self.cleared_at = None;
        self.stopped = None;
        from
    }

    fn note_span(&mut self, frame: &AudioFrame) {
        let speech = match frame.spoken_by {
            Some(by) => self.speeches.iter().position(|speech| speech.by == by),
            // A node that made audio of its own out of a voice's does not say whose: it is the next that is owed.
            None => (0..self.speeches.len())
                .find(|place| self.sent_of(*place, u64::MAX) < self.length_of(&self.speeches[*place])),
        };
        let (until, full) = (self.sent_samples, self.spans.len() == MAX_SPANS);
        match self.spans.last_mut() {
            Some(last) if last.speech == speech || full => last.until = until,
            _ => self.spans.push(Span { speech, until }),
        }
    }

    /// How much of a speech was sent up to a position.
    fn sent_of(&self, speech: usize, position: u64) -> u64 {
        let mut from = 0;
        let mut sent = 0;
        for span in &self.spans {
            if span.speech == Some(speech) {
                sent += span.until.min(position).saturating_sub(from);
            }
            from = span.until;
        }
        sent
    }

    /// Whether nothing was ever sent.
    pub(crate) fn is_silent(&self) -> bool {
        self.furthest_sent == 0
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

    /// The transport says where it stopped. A second word changes nothing, and what was heard before stays heard; but its
    /// word counts for more than an estimate, also when a connection that was lost comes back with it.
    pub(crate) fn on_cleared(&mut self, samples: u64) {
        self.on_heard(samples);
        if self.cleared_at.is_some() && self.stopped.is_none_or(|stopped| stopped.estimated) {
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
        let heard = Position { samples: self.heard_samples, estimated: false };
        // That nothing of nothing was heard does not need the transport's word, and is none.
        if heard.samples > 0 && heard.samples >= self.sent_samples {
            return Some(heard);
        }
        // The word of an earlier clear may come after a later one was asked for; then more was heard than it says.
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

    /// Whether some of what was sent lies behind this position, or was taken back and not sent again.
    pub(crate) fn is_short(&self, position: Position) -> bool {
        position.samples < self.furthest_sent
    }

    /// Goes back to `position`: what is behind it will be sent again.
    pub(crate) fn rewind(&mut self, now: Micros, position: Position) {
        self.sent_samples = position.samples;
        let kept = self.spans.partition_point(|span| span.until < position.samples);
        self.spans.truncate(kept + 1);
        if let Some(last) = self.spans.last_mut() {
            last.until = last.until.min(position.samples);
        }
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

    /// The words up to `position`, cut back to whole ones; and whether all of the text is among them.
    pub(crate) fn text_until(&self, position: Position) -> (String, bool) {
        let mut heard = String::new();
        let mut whole = true;
        for (place, speech) in self.speeches.iter().enumerate() {
            let samples = self.sent_of(place, position.samples);
            // A chunk without a sound, such as a dash, was said when what stands before it was.
            let length = self.length_of(speech);
            let part = if speech.complete && samples >= length && (whole || length > 0) {
                speech.text.as_ref()
            } else if speech.ends.is_empty() {
                whole_words(&speech.text, samples, self.whole_length_of(speech))
            } else {
                // Its words end in the audio as it came, which may play at another rate.
                let heard = samples * u64::from(speech.came_at_hz) / u64::from(self.rate_hz);
                ended_words(&speech.text, heard, &speech.ends)
            };
            whole &= part.len() == speech.text.len() && !speech.withdrawn;
            if !part.is_empty() {
                if !heard.is_empty() {
                    heard.push(' ');
                }
                heard.push_str(part);
            }
        }
        (heard, whole)
    }

    /// What has come of a speech, in samples of the rate at which is sent.
    fn length_of(&self, speech: &Speech) -> u64 {
        let (to, from) = (u64::from(self.rate_hz), u64::from(speech.came_at_hz));
        if to == from { speech.samples } else { speech.samples * to / from.max(1) }
    }

    /// The samples of all of a speech: known once all of it has come, until then at least what its text suggests.
    fn whole_length_of(&self, speech: &Speech) -> u64 {
        if speech.complete {
            return self.length_of(speech);
        }
        let chars = speech.text.chars().count() as u64;
        self.length_of(speech).max(chars * u64::from(self.rate_hz) / NOMINAL_SPEECH_CHARS_PER_SECOND)
    }
}

/// The words that end within what was heard, as their voice says.
fn ended_words<'a>(text: &'a str, heard: u64, ends: &[WordEnd]) -> &'a str {
    let chars = ends.iter().take_while(|end| end.samples <= heard).last().map_or(0, |end| end.chars as usize);
    text.char_indices().nth(chars).map_or(text, |(cut, _)| &text[..cut]).trim_end()
}

/// The first `heard / length` of the characters, cut back to whole words.
fn whole_words(text: &str, heard: u64, length: u64) -> &str {
    if length == 0 {
        return "";
    }
    let chars = text.chars().count() as u64;
    let count = (chars * heard.min(length) / length) as usize;
    let Some((cut, _)) = text.char_indices().nth(count) else { return text };
    if !splits_a_word(text, cut) {
        return text[..cut].trim_end();
    }
    let between_words = |c: char| !c.is_alphanumeric() && !APOSTROPHES.contains(&c);
    text[..cut].rfind(between_words).map_or("", |end| text[..end].trim_end())
}

/// What stands in the middle of words such as "don't".
const APOSTROPHES: [char; 2] = ['\'', '\u{2019}'];

/// Whether a word goes on across this place.
fn splits_a_word(text: &str, cut: usize) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let is_apostrophe = |c: Option<char>| c.is_some_and(|c| APOSTROPHES.contains(&c));
    let (mut back, mut on) = (text[..cut].chars().rev(), text[cut..].chars());
    let (before, next) = (back.next(), on.next());
    (is_letter(before) || is_apostrophe(before) && is_letter(back.next()))
        && (is_letter(next) || is_apostrophe(next) && is_letter(on.next()))
}

/// The conversation as the caller has lived it.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    entries: Vec<ContextEntry>,
}

impl Conversation {
    /// One that goes on.
    pub(crate) fn resume(context: &[ContextEntry]) -> Self {
        Self { entries: context.to_vec() }
    }

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
mod tests;
