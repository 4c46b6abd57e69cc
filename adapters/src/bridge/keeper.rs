//! What a worker keeps of its sessions: their log, and the effects that wait until it is written.
//!
//! Nothing leaves before it is in the log. The worker does not wait for that: it hands the tick to the log's writer, goes on
//! with the next one, and performs each tick's effects, in order, once the writer has said that the tick is with the system.
//! Where the disk is quick that is a few tens of microseconds. Where it is not, the sessions go on: what they cancel is
//! fenced at once, since a gate that closes needs nobody's leave; they are told how the log fares, and record less; and when
//! the writer stands still, their turns end (`recording_evidence_unavailable`), for nothing of them can be kept. What waits is
//! bounded. Beyond that the calls are given up: they end, and nothing of what waits leaves, since it is in no log and never will
//! be. The worker takes calls again once its log is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::recording::RecorderReport;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;

use super::Counts;
use super::worker::Message;
use crate::journal::Scribe;
use crate::recording::{ExportCounts, ExporterThread, KeptLog, LogCounts, LogWriterThread, Place, WorkerLog};

/// For so much of the log's queue one record may wait for the disk: so many that the queue is full before, and then some.
const QUEUE_BYTES_A_RECORD: u64 = 64;

/// A worker's log and the threads that write and export it.
pub(crate) struct Keeper {
    log: WorkerLog,
    writer: Option<LogWriterThread>,
    exporter: ExporterThread,
    wake: Arc<Wake>,
    /// Records that may wait.
    max_waiting: usize,
    /// The calls are given up, and others are not taken until the log is written up to here.
    lost: Option<Place>,
    /// What was counted so far.
    counted: LogCounts,
    exported: ExportCounts,
}

/// Wakes the worker when more is written, if it wants to be woken.
#[derive(Debug)]
pub(super) struct Wake {
    is_wanted: AtomicBool,
    inbox: Sender<Message>,
}

impl Wake {
    pub(super) fn new(inbox: &Sender<Message>) -> Arc<Self> {
        Arc::new(Self { is_wanted: AtomicBool::new(false), inbox: inbox.clone() })
    }

    /// The worker is about to sleep.
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    pub(super) fn written(&self) {
        if self.is_wanted.swap(false, Ordering::SeqCst) {
            // A worker whose inbox is full does not sleep.
            let _ = self.inbox.try_send(Message::Written);
        }
    }
}

/// A tick whose effects have not been performed.
pub(crate) struct Tick {
    written: Before,
    since: Micros,
    pub(crate) records: Vec<Record>,
    /// For each record, the row of its session.
    pub(crate) rows: Vec<usize>,
}

/// What is to be written before a tick's effects leave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// Up to where the log, if there is one.
    pub(crate) place: Option<Place>,
    /// Up to where the journal, if anything of the tick goes there.
    pub(crate) journal: Option<u64>,
}

/// Who keeps what a worker's sessions do.
#[derive(Default)]
pub(crate) struct Keepers {
    pub(crate) log: Option<Keeper>,
    pub(crate) journal: Option<Kept>,
}

/// A journal's scribe, and how it wakes the worker.
pub(crate) struct Kept {
    pub(crate) scribe: Scribe,
    wake: Arc<Wake>,
}

impl Kept {
    /// Begins to write.
    pub(crate) fn new(inbox: &Sender<Message>) -> std::io::Result<Self> {
        let wake = Wake::new(inbox);
        let woken = Arc::clone(&wake);
        Ok(Self { scribe: Scribe::spawn(move || woken.written())?, wake })
    }
}

impl Keepers {
    fn is_written(&self, before: Before) -> bool {
        // Of calls that are given up nothing is done, so their ticks need not be kept for it.
        let in_log =
            |keeper: &Keeper| keeper.lost.is_some() || before.place.is_none_or(|place| keeper.log.is_written(place));
        let in_journal = |kept: &Kept| before.journal.is_none_or(|tick| kept.scribe.is_written(tick));
        self.log.as_ref().is_none_or(in_log) && self.journal.as_ref().is_none_or(in_journal)
    }

    /// Whether the worker may sleep: who waits for the disk is woken by it.
    pub(crate) fn may_sleep(&self, waiting: &Waiting) -> bool {
        let Some(before) = waiting.ticks.front().map(|tick| tick.written) else { return true };
        self.log.iter().filter(|_| before.place.is_some()).for_each(|keeper| keeper.wake.want());
        self.journal.iter().filter(|_| before.journal.is_some()).for_each(|kept| kept.wake.want());
        !self.is_written(before)
    }
}

/// Ticks whose effects wait, the oldest first.
#[derive(Default)]
pub(crate) struct Waiting {
    ticks: VecDeque<Tick>,
    records: usize,
    spare: Vec<(Vec<Record>, Vec<usize>)>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.ticks.is_empty()
    }

    /// A tick's records, and room for the next one's.
    pub(crate) fn put(&mut self, now: Micros, written: Before, records: &mut Vec<Record>, rows: &mut Vec<usize>) {
        let (empty, no_rows) = self.spare.pop().unwrap_or_default();
        let (records, rows) = (std::mem::replace(records, empty), std::mem::replace(rows, no_rows));
        self.records += records.len();
        self.ticks.push_back(Tick { written, since: now, records, rows });
    }

    /// The next tick whose effects may leave.
    pub(crate) fn pop(&mut self, now: Micros, keepers: &Keepers, counts: &Counts) -> Option<Tick> {
        if !keepers.is_written(self.ticks.front()?.written) {
            return None;
        }
        let tick = self.ticks.pop_front()?;
        self.records -= tick.records.len();
        if now.since(tick.since) > Micros::from_ms(FRAME_MS) {
            super::count(&counts.slow_writes);
        }
        Some(tick)
    }

    /// Takes a tick's empty vectors back.
    pub(crate) fn take_back(&mut self, mut tick: Tick) {
        tick.records.clear();
        tick.rows.clear();
        if self.spare.len() < 16 {
            self.spare.push((tick.records, tick.rows));
        }
    }
}

impl Keeper {
    /// Begins to write and to export.
    pub(crate) fn new(kept: KeptLog, inbox: &Sender<Message>) -> std::io::Result<Self> {
        let KeptLog { mut log, exporter } = kept;
        let wake = Wake::new(inbox);
        let woken = Arc::clone(&wake);
        let writer = if log.has_writer() { None } else { Some(log.writer()?.spawn(move || woken.written())?) };
        let exporter = exporter.spawn()?;
        let max_waiting = usize::try_from(log.size().queue_bytes / QUEUE_BYTES_A_RECORD).unwrap_or(usize::MAX);
        let (counted, exported) = (LogCounts::default(), ExportCounts::default());
        Ok(Self { log, writer, exporter, wake, max_waiting, lost: None, counted, exported })
    }

    /// Takes what a tick wrote; gives the place up to which the log is to be written before its effects leave.
    pub(crate) fn append(&mut self, records: &[Record]) -> Place {
        self.log.append(records)
    }

    /// How the log fares: what all sessions are to be told, when that changes.
    pub(crate) fn measure(&mut self, now: Micros) -> Option<RecorderReport> {
        self.lost = self.lost.filter(|place| !self.log.is_written(*place));
        self.log.measure(now)
    }

    /// Whether so much waits, behind this place, that the calls have to be given up: said once.
    pub(crate) fn gives_up(&mut self, waiting: &Waiting, place: Place) -> bool {
        let is_too_much = waiting.records > self.max_waiting && self.lost.is_none();
        if is_too_much {
            self.lost = Some(place);
        }
        is_too_much
    }

    /// Whether a call that begins now can be kept.
    pub(crate) fn takes_calls(&self) -> bool {
        self.lost.is_none()
    }

    /// What a session is to be told that begins now.
    pub(crate) fn says(&self) -> RecorderReport {
        self.log.says()
    }

    /// Now and then: what nobody outside notices is written too, and it is counted what was kept.
    pub(crate) fn look_around(&mut self, counts: &Counts) {
        self.log.flush();
        let (now, before) = (self.log.counts(), std::mem::replace(&mut self.counted, self.log.counts()));
        for (counter, more) in [
            (&counts.logged, now.events - before.events),
            (&counts.left_out, now.left_out + now.over_a_limit - before.left_out - before.over_a_limit),
            (&counts.evidence_lost, now.evidence_lost - before.evidence_lost),
            (&counts.log_failures, now.failed_writes - before.failed_writes),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        let (now, before) = (self.exporter.counts(), self.exported);
        self.exported = now;
        for (counter, more) in [
            (&counts.exported, now.exported - before.exported),
            (&counts.export_tries_failed, now.failed_tries - before.failed_tries),
            (&counts.exports_given_up, now.given_up - before.given_up),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The worker ends: everything is written when this returns, and what waits for it may leave.
    pub(crate) fn write_all(&mut self) {
        self.log.end_all();
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
    }

    /// Brings to the store what it takes now.
    pub(crate) fn stop(self) {
        self.exporter.stop();
    }
}
