//! What the lines so far have said: the only memory of the checker.
//!
//! Facts are noted whether or not they were allowed, so that one breach is reported once and not at every line
//! that follows from it. What is long over is forgotten, so that a trace may be of any length: of a number that was
//! forgotten no rule says that it never was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rspp_specs::time::Micros;
use rspp_specs::trace::Section;

use crate::authority::epoch_number;
use crate::edges::Edges;
use crate::hosting::Hosting;
use crate::view::{Name, Row, Tick};

/// Everything known of the session.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) turns: BTreeMap<u32, Turn>,
    /// The turn that was opened and has not closed.
    pub(crate) open: Option<u32>,
    pub(crate) open_when_the_tick_began: Option<u32>,
    pub(crate) last_turn: Option<u32>,
    pub(crate) last_generation: Option<u64>,
    /// The highest turn of those forgotten.
    forgotten_turn: Option<u32>,
    pub(crate) invocations: BTreeMap<u32, Invocation>,
    /// Those that have not ended and were not cancelled.
    flying: BTreeSet<u32>,
    /// Those that are not in flight any more, in the order in which they left it.
    landed: VecDeque<u32>,
    /// The highest invocation of those forgotten.
    forgotten_invocation: Option<u32>,
    pub(crate) last_invocation: Option<u32>,
    /// Tools that were proposed as writes.
    pub(crate) write_tools: BTreeSet<String>,
    pub(crate) last_sequence: Option<u64>,
    pub(crate) last_time: Option<(u64, u64)>,
    pub(crate) epoch: Option<u64>,
    pub(crate) session_ended: bool,
    /// The lease's epoch, once one was named.
    pub(crate) lease: Option<u64>,
    /// The newest word of admission.
    pub(crate) snapshot: Option<Snapshot>,
    /// The caller's transport is gone.
    pub(crate) suspended: bool,
    /// Another worker goes on with the session, and playout is on hold until it is known where the one before stopped.
    pub(crate) taken_over: bool,
    /// When proposals were deferred with a time.
    deferred_at: BTreeSet<Micros>,
    /// The latest of those times that are forgotten.
    forgotten_deferral: Option<Micros>,
    pub(crate) shown: Option<Shown>,
    /// What should have been shown when the tick before ended.
    pub(crate) state_before: Option<&'static str>,
    pub(crate) flight_before: Vec<u32>,
    pub(crate) edges: Edges,
    pub(crate) hosting: Hosting,
}

/// Closed turns that are remembered: audio of them may still be played, their invocations may still answer.
const MAX_CLOSED_TURNS: usize = 16;
/// Invocations that ended or were cancelled, and are remembered: what they answer comes late.
const MAX_LANDED_INVOCATIONS: usize = 512;
/// Tools whose calls were proposed as writes.
const MAX_WRITE_TOOLS: usize = 1_024;

/// Times at which proposals were deferred, and that are remembered.
const MAX_DEFERRED: usize = 64;

/// Since when a proposal waits that comes in again.
pub(crate) fn waits_since(row: Row<'_>) -> Option<Micros> {
    let shown = row.line.field("waits_since_ms")?.to_string();
    let (whole, rest) = shown.split_once('.').unwrap_or((&shown, ""));
    let micros: u64 = if rest.is_empty() { 0 } else { format!("{rest:0<3}").parse().ok()? };
    Some(Micros(whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(micros)?))
}

/// A word of admission.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) quota: bool,
    pub(crate) epoch: u64,
}

/// The latest state line.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) state: String,
    pub(crate) held: Vec<String>,
}

/// What is known of a turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) generation: Option<u64>,
    pub(crate) cancelled: bool,
    /// For what reason it was cancelled softly.
    pub(crate) soft: Option<String>,
    /// Whether an abort or a commit was said.
    pub(crate) terminal: bool,
    pub(crate) closed: bool,
    pub(crate) last_signal_is_terminal: bool,
    pub(crate) held: bool,
    pub(crate) writes: BTreeMap<String, Write>,
    pub(crate) audio: TurnAudio,
    pub(crate) playback_started: bool,
    pub(crate) playback_over: bool,
    /// The last step by which it got by with less.
    pub(crate) last_step: Option<u64>,
    /// Nodes that it does without.
    pub(crate) skipped: BTreeSet<String>,
}

/// What is known of a turn's audio, in its own samples.
#[derive(Debug, Default)]
pub(crate) struct TurnAudio {
    /// Where the next frame should begin.
    pub(crate) next_sample: u64,
    /// All that was ever sent.
    pub(crate) sent_samples: u64,
    /// Whether a resume set `next_sample` and no frame has followed.
    pub(crate) resumed: bool,
    /// The line of the turn's first frame.
    pub(crate) first_frame: Option<usize>,
    /// The line that says that output was accepted, the first time.
    pub(crate) accepted: Option<usize>,
    /// Whether anything was sent since the last clear.
    pub(crate) in_transport: bool,
    /// The furthest position that the transport has acknowledged.
    pub(crate) acknowledged: Option<u64>,
    pub(crate) playhead: Option<Playhead>,
    pub(crate) rate_hz: u64,
}

impl TurnAudio {
    /// Whether the caller is known to have heard all that was sent.
    pub(crate) fn all_heard(&self) -> bool {
        self.acknowledged == Some(self.sent_samples)
    }
}

/// The pacer's playhead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Playhead {
    /// When all that was sent will have been played.
    end: Micros,
}

impl Playhead {
    /// After a frame: the playhead starts anew when there was none, or when all that was sent has been played.
    pub(crate) fn after_frame(playhead: Option<Playhead>, row: Row<'_>) -> Option<Playhead> {
        let start = playhead.map_or(row.line.at, |playhead| playhead.end.max(row.line.at));
        Some(Playhead { end: Micros(start.0.saturating_add(frame_duration(row)?.0)) })
    }

    /// How far what was sent is ahead of what is being played.
    pub(crate) fn ahead(self, now: Micros) -> Micros {
        self.end.since(now)
    }
}

/// How long the audio of this line plays.
pub(crate) fn frame_duration(row: Row<'_>) -> Option<Micros> {
    let samples = row.number_of("samples")?.checked_mul(1_000_000)?;
    samples.checked_div(row.number_of("rate_hz")?).map(Micros)
}

/// What is known of a write.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// Which tool, if it was proposed.
    name: Option<String>,
    pub(crate) committed: bool,
    pub(crate) revoked: bool,
}

/// What is known of an invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) kind: String,
    /// The turn that was open when it began.
    pub(crate) turn: Option<u32>,
    /// Whether it runs a committed write.
    pub(crate) write: bool,
    pub(crate) ended_tick: Option<u64>,
    pub(crate) cancelled: Option<Place>,
    pub(crate) input_complete: bool,
    /// Whether it gave anything before its end.
    pub(crate) answered: bool,
    /// Whether anything was made of that: text that nobody has used can be taken back.
    pub(crate) used: bool,
    /// Whether it was said to have failed.
    pub(crate) failed: bool,
    /// Whether it was never started, or died with its worker: control says so, ahead of data.
    pub(crate) gone: bool,
}

/// Where something happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) tick: u64,
    pub(crate) line: usize,
}

impl Invocation {
    /// Recognition belongs to the session, a committed write to nobody; all else lives and dies with its turn.
    pub(crate) fn dies_with(&self, turn: u32) -> bool {
        self.kind != RECOGNISER && !self.write && self.turn == Some(turn)
    }

    /// A call that failed and of which nothing was used holds its turn until it is made again.
    pub(crate) fn may_be_tried_again(&self) -> bool {
        self.failed && !self.used
    }

    pub(crate) fn in_flight(&self) -> bool {
        self.ended_tick.is_none() && self.cancelled.is_none()
    }
}

/// The kind of invocation that gives text.
const MODEL: &str = "llm";
/// The kind of invocation that belongs to the session.
pub(crate) const RECOGNISER: &str = "stt";
/// The kind of invocation that speaks.
const VOICE: &str = "tts";

impl Facts {
    pub(crate) fn begin_tick(&mut self) {
        self.open_when_the_tick_began = self.open;
    }

    /// A turn whose close is missing counts as closed, so that this is said once.
    pub(crate) fn end_tick(&mut self, tick: Tick<'_>) {
        self.state_before = Some(self.fitting_state(tick));
        if let Some(open) = self.open.filter(|open| self.turns.get(open).is_some_and(|turn| turn.terminal)) {
            self.turns.entry(open).or_default().closed = true;
            self.open = None;
        }
        if !self.in_flight_of_open_turn().eq(self.flight_before.iter().copied()) {
            self.flight_before = self.in_flight_of_open_turn().collect();
        }
        self.forget();
    }

    /// Lets go of what is long over.
    fn forget(&mut self) {
        while self.landed.len() > MAX_LANDED_INVOCATIONS
            && let Some(oldest) = self.landed.pop_front()
        {
            self.invocations.remove(&oldest);
            self.forgotten_invocation = self.forgotten_invocation.max(Some(oldest));
        }
        while self.turns.len() > MAX_CLOSED_TURNS + 1
            && let Some((oldest, _)) = self.turns.pop_first()
        {
            self.forgotten_turn = self.forgotten_turn.max(Some(oldest));
        }
    }

    /// Whether this invocation may have been one that is forgotten.
    pub(crate) fn has_forgotten_invocation(&self, number: u32) -> bool {
        !self.invocations.contains_key(&number) && self.forgotten_invocation.is_some_and(|highest| number <= highest)
    }

    /// Whether this turn may have been one that is forgotten.
    pub(crate) fn has_forgotten_turn(&self, number: u32) -> bool {
        !self.turns.contains_key(&number) && self.forgotten_turn.is_some_and(|highest| number <= highest)
    }

    /// How many things are remembered.
    pub(crate) fn remembered(&self) -> usize {
        let writes: usize = self.turns.values().map(|turn| turn.writes.len()).sum();
        self.turns.len()
            + writes
            + self.invocations.len()
            + self.landed.len()
            + self.write_tools.len()
            + self.edges.remembered()
            + self.deferred_at.len()
    }

    /// The state that a tick with these signals ends in.
    pub(crate) fn fitting_state(&self, tick: Tick<'_>) -> &'static str {
        match self.open_turn() {
            Some((_, turn)) if turn.terminal => "closed",
            Some((_, turn)) if turn.held => "held",
            Some(_) => "active",
            None if tick.signal("close").is_some() => "closed",
            None => "idle",
        }
    }

    pub(crate) fn open_turn(&self) -> Option<(u32, &Turn)> {
        let open = self.open?;
        self.turns.get(&open).map(|turn| (open, turn))
    }

    pub(crate) fn turn_of(&self, row: Row<'_>) -> Option<(u32, &Turn)> {
        let number = row.turn()?;
        self.turns.get(&number).map(|turn| (number, turn))
    }

    pub(crate) fn invocation_of(&self, row: Row<'_>) -> Option<(Name<'_>, &Invocation)> {
        let number = row.invocation()?.number;
        let invocation = self.invocations.get(&number)?;
        Some((Name { kind: &invocation.kind, number }, invocation))
    }

    pub(crate) fn in_flight_of_open_turn(&self) -> impl Iterator<Item = u32> + '_ {
        let of_the_turn = |number: &u32| {
            self.open.zip(self.invocations.get(number)).is_some_and(|(open, invocation)| invocation.dies_with(open))
        };
        self.flying.iter().copied().filter(of_the_turn)
    }

    /// Notes a line.
    pub(crate) fn note(&mut self, row: Row<'_>) {
        let speaks = row.input() == Some("provider") && self.speaks_for_the_turn(row);
        self.edges.note(row, speaks);
        self.last_time = Some((row.line.tick, row.line.at.0));
        match row.line.section {
            Section::In => self.note_input(row),
            Section::Signal => self.note_signal(row),
            Section::Effect => self.note_effect(row),
            Section::State => {
                let held = row.text("held").unwrap_or_default();
                let held = held.split(',').filter(|holder| !holder.is_empty()).map(str::to_owned).collect();
                self.shown = Some(Shown { state: row.line.name.to_string(), held });
            }
        }
    }

    /// Whether this is a result of a voice that speaks for the open turn.
    fn speaks_for_the_turn(&self, row: Row<'_>) -> bool {
        let of_a_voice = self.invocation_of(row).filter(|(name, call)| name.kind == VOICE && call.in_flight());
        of_a_voice.is_some_and(|(_, call)| self.open.is_some() && call.turn == self.open)
    }

    fn note_input(&mut self, row: Row<'_>) {
        self.last_sequence = row.number_of("seq").or(self.last_sequence);
        match row.line.name.as_ref() {
            "provider" if row.text("kind") == Some("end") => {
                let tick = row.line.tick;
                if let Some(invocation) = self.invocation_mut(row) {
                    invocation.ended_tick.get_or_insert(tick);
                }
                self.note_landed(row);
            }
            // An empty piece of text says nothing.
            "provider"
                if row.text("kind") == Some("text") && row.text("text").is_some_and(|it| it.trim().is_empty()) => {}
            // Where words end is no sound: who waits for an answer has got none of it.
            "provider" if row.text("kind") == Some("word_ends") => {}
            "provider" => {
                let is_text = row.text("kind") == Some("text");
                if let Some(invocation) = self.invocation_mut(row).filter(|invocation| invocation.in_flight()) {
                    invocation.answered = true;
                    invocation.used |= !is_text;
                }
            }
            "dispatch_refused" => {
                let gone = row.invocation().map(|name| name.number);
                self.note_gone(gone, row.line.tick);
            }
            "takeover" => {
                let lost = row.text("lost").unwrap_or_default().split(',').filter_map(Name::parse);
                let lost: Vec<u32> = lost.map(|name| name.number).collect();
                self.note_gone(lost, row.line.tick);
            }
            "admission" => {
                let version = row.number_of("version").unwrap_or(0);
                if self.snapshot.as_ref().is_none_or(|known| known.version <= version) {
                    let quota = row.text("quota") == Some("available");
                    let epoch = row.text("epoch").and_then(epoch_number).unwrap_or(0);
                    self.snapshot = Some(Snapshot { version, quota, epoch });
                }
            }
            "playout_ack" => {
                if let (Some(turn), Some(heard)) = (self.turn_mut(row), row.number_of("heard_samples")) {
                    // A transport that says more than it was given has played all of that.
                    let heard = heard.min(turn.audio.sent_samples);
                    turn.audio.acknowledged = turn.audio.acknowledged.max(Some(heard));
                }
            }
            _ => {}
        }
    }

    fn note_signal(&mut self, row: Row<'_>) {
        match row.line.name.as_ref() {
            "turn_open" => return self.note_turn_open(row),
            "session_ended" => self.session_ended = true,
            "session_suspended" => self.suspended = true,
            "session_resumed" => self.suspended = false,
            "migration_start" => self.taken_over = true,
            "node_overrun" => self.hosting.note(row),
            "playout_resume" => self.taken_over = false,
            "close" if self.open == row.turn() => (self.open, self.taken_over) = (None, false),
            "defer" if row.text("retry_after_ms") != Some("none") => self.note_deferred(row.line.at),
            "lease_rotated" => self.lease = row.text("epoch").and_then(epoch_number).or(self.lease),
            "provider_error" => {
                if let Some(invocation) = self.invocation_mut(row) {
                    invocation.failed = true;
                }
            }
            "tool_proposed" if self.write_tools.len() < MAX_WRITE_TOOLS => {
                self.write_tools.extend(row.text("name").map(str::to_owned));
            }
            _ => {}
        }
        let Some(turn) = self.turn_mut(row) else { return };
        turn.last_signal_is_terminal = matches!(row.line.name.as_ref(), "commit" | "abort");
        match row.line.name.as_ref() {
            "cancel_accepted" => (turn.cancelled, turn.held) = (true, false),
            "commit" | "abort" => (turn.terminal, turn.held) = (true, false),
            "soft_cancel" => turn.soft = row.text("reason").map(str::to_owned),
            "close" => turn.closed = true,
            "output_accepted" => {
                turn.audio.accepted.get_or_insert(row.number);
            }
            "playout_hold" => turn.held = true,
            "playout_resume" => turn.resume(row),
            "playback_started" => turn.playback_started = true,
            "playback_completed" | "playback_cancelled" => turn.playback_over = true,
            "tool_proposed" | "tool_committed" | "tool_revoked" => turn.note_tool(row),
            "degrade" => {
                turn.last_step = turn.last_step.max(row.number_of("step"));
                turn.skipped.extend(row.text("node").filter(|_| row.text("how") == Some("skip")).map(str::to_owned));
            }
            _ => {}
        }
    }

    fn note_turn_open(&mut self, row: Row<'_>) {
        let Some(number) = row.turn() else { return };
        let generation = row.number_of("generation");
        self.turns.insert(number, Turn { generation, ..Turn::default() });
        self.open = Some(number);
        self.last_turn = Some(number);
        self.last_generation = generation.or(self.last_generation);
    }

    fn note_effect(&mut self, row: Row<'_>) {
        match row.line.name.as_ref() {
            "invoke" => self.note_invoke(row),
            "feed_end" => {
                if let Some(invocation) = self.invocation_mut(row) {
                    invocation.input_complete = true;
                }
            }
            "cancel_invocation" => {
                let here = Place { tick: row.line.tick, line: row.number };
                if let Some(invocation) = self.invocation_mut(row) {
                    invocation.cancelled.get_or_insert(here);
                }
                self.note_landed(row);
            }
            "transmit" => {
                self.epoch = self.epoch.or(row.number_of("epoch"));
                if let Some(turn) = self.turn_mut(row) {
                    turn.audio.note_transmit(row);
                }
            }
            "clear_transport" => {
                self.epoch = row.number_of("epoch").or(self.epoch);
                if let Some(turn) = self.turn_mut(row) {
                    turn.audio.in_transport = false;
                }
            }
            _ => {}
        }
    }

    fn note_invoke(&mut self, row: Row<'_>) {
        let Some(name) = row.invocation() else { return };
        self.last_invocation = Some(name.number);
        let turn = self.open_turn().filter(|_| name.kind != RECOGNISER);
        let write = name.kind == "tool" && turn.is_some_and(|(_, turn)| turn.has_proposed(row));
        let turn = turn.map(|(number, _)| number);
        let kind = name.kind.to_owned();
        if ![MODEL, RECOGNISER].contains(&name.kind) {
            self.note_used();
        }
        let invocation = Invocation {
            kind,
            turn,
            write,
            ended_tick: None,
            cancelled: None,
            input_complete: false,
            answered: false,
            used: false,
            failed: false,
            gone: false,
        };
        self.invocations.insert(name.number, invocation);
        self.flying.insert(name.number);
    }

    /// Something is made of what the models of the open turn have given.
    fn note_used(&mut self) {
        let open = self.open;
        for number in &self.flying {
            if let Some(invocation) = self.invocations.get_mut(number)
                && invocation.turn == open
            {
                invocation.used |= invocation.answered;
            }
        }
    }

    fn note_deferred(&mut self, at: Micros) {
        self.deferred_at.insert(at);
        if self.deferred_at.len() > MAX_DEFERRED {
            self.forgotten_deferral = self.deferred_at.pop_first();
        }
    }

    /// Whether a proposal was deferred at this time, or may have been.
    pub(crate) fn was_deferred_at(&self, at: Micros) -> bool {
        self.deferred_at.contains(&at) || self.forgotten_deferral.is_some_and(|latest| at <= latest)
    }

    fn note_gone(&mut self, numbers: impl IntoIterator<Item = u32>, tick: u64) {
        for number in numbers {
            if let Some(invocation) = self.invocations.get_mut(&number) {
                invocation.ended_tick.get_or_insert(tick);
                invocation.gone = true;
            }
            if self.flying.remove(&number) {
                self.landed.push_back(number);
            }
        }
    }

    fn note_landed(&mut self, row: Row<'_>) {
        if let Some(name) = row.invocation().filter(|name| self.flying.contains(&name.number)) {
            self.flying.remove(&name.number);
            self.landed.push_back(name.number);
        }
    }

    fn turn_mut(&mut self, row: Row<'_>) -> Option<&mut Turn> {
        self.turns.get_mut(&row.turn()?)
    }

    fn invocation_mut(&mut self, row: Row<'_>) -> Option<&mut Invocation> {
        self.invocations.get_mut(&row.invocation()?.number)
    }
}

impl Turn {
    /// Whether this call was proposed as a write: by its key, and unless it names another tool. A model may use a key
    /// again for a call that reads.
    pub(crate) fn has_proposed(&self, call: Row<'_>) -> bool {
        let write = call.text("key").and_then(|key| self.writes.get(key));
        write.is_some_and(|write| write.name.as_deref().zip(call.text("name")).is_none_or(|(of, name)| of == name))
    }

    fn resume(&mut self, row: Row<'_>) {
        self.held = false;
        self.audio.playhead = None;
        self.audio.resumed = true;
        self.audio.next_sample = row.number_of("from_sample").unwrap_or(self.audio.next_sample);
    }

    fn note_tool(&mut self, row: Row<'_>) {
        let Some(key) = row.text("key") else { return };
        match row.line.name.as_ref() {
            "tool_proposed" => {
                let name = row.text("name").map(str::to_owned);
                self.writes.entry(key.to_owned()).or_insert(Write { name, ..Write::default() });
            }
            "tool_committed" => self.writes.entry(key.to_owned()).or_default().committed = true,
            _ => self.writes.entry(key.to_owned()).or_default().revoked = true,
        }
    }
}

impl TurnAudio {
    fn note_transmit(&mut self, row: Row<'_>) {
        let from = row.number_of("from_sample").unwrap_or(self.next_sample);
        self.next_sample = from.saturating_add(row.number_of("samples").unwrap_or(0));
        self.sent_samples = self.sent_samples.max(self.next_sample);
        self.first_frame.get_or_insert(row.number);
        self.resumed = false;
        self.in_transport = true;
        self.rate_hz = row.number_of("rate_hz").unwrap_or(self.rate_hz);
        self.playhead = Playhead::after_frame(self.playhead, row).or(self.playhead);
    }
}
