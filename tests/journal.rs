//! The journal that a fleet's workers share: who takes a session has all that was done of it, and who had it does nothing more.

use std::path::Path;
use std::sync::Arc;

use rspp::adapters::journal::{Journal, JournalError, SharedFolder, Taken, ToldBefore, Whose};
use rspp::specs::ids::{LeaseEpoch, RuntimeSequence, Slot};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record, SessionOpen, Signal};
use rspp::{Registry, compile};

fn whose() -> Whose {
    Whose { tenant: "acme".into(), session: "call".into() }
}

fn said(tick: u64, signal: Signal) -> Record {
    Record { slot: Slot(0), tick, at: Micros(tick), entry: Entry::Signal(None, signal) }
}

/// A tick that a session goes on from.
fn opened(tick: u64) -> Vec<Record> {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/pipeline.yaml");
    let spec = std::fs::read_to_string(spec).expect("it is there");
    let plan = Arc::new(compile("spec", &spec, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}")));
    let entry = Entry::Input(RuntimeSequence(1), Input::SessionOpen(Box::new(SessionOpen::new("call", plan))));
    vec![Record { slot: Slot(0), tick, at: Micros(tick), entry }, said(tick, Signal::SessionReady)]
}

fn take(journal: &SharedFolder, epoch: u64) -> Result<Taken, JournalError> {
    journal.take(&whose(), LeaseEpoch(epoch))
}

fn is_stale<T>(result: &Result<T, JournalError>) -> bool {
    matches!(result, Err(JournalError::Stale { .. }))
}

fn ticks(taken: &Taken) -> Vec<u64> {
    taken.past.iter().flat_map(|past| past.records.iter().map(|record| record.tick)).collect()
}

/// A folder, and the journal in it.
fn journal() -> (tempfile::TempDir, SharedFolder) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let journal = SharedFolder::open(folder.path()).expect("it can be written");
    (folder, journal)
}

/// Files of sessions.
fn files(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder).expect("it is there").flatten().filter(|entry| entry.path().is_dir());
    folders.map(|entry| std::fs::read_dir(entry.path()).expect("it is there").count()).sum()
}

#[test]
fn who_takes_a_session_has_all_that_was_done_and_who_had_it_does_nothing_more() {
    let (folder, journal) = journal();
    let mut first = take(&journal, 3).expect("nobody has it");
    assert!(first.past.is_none());
    first.pen.append(&opened(1)).expect("it is ours");
    let other = SharedFolder::open(folder.path()).expect("it is shared");
    assert_eq!(other.began_unix_us(), journal.began_unix_us(), "one time for all");
    let mut second = take(&other, 5).expect("it is given to us");
    assert_eq!(second.past.as_ref().map(|past| past.records.clone()), Some(opened(1)));
    assert!(is_stale(&first.pen.append(&[said(2, Signal::SessionSuspended)])));
    assert!(is_stale(&first.pen.begin_part(ToldBefore::default(), &opened(3))));
    first.pen.erase();
    second.pen.append(&[said(2, Signal::SessionResumed)]).expect("it is ours");
    assert!(is_stale(&take(&journal, 4)) && is_stale(&take(&journal, 5)), "never back");
    second.pen.append(&[said(3, Signal::SessionSuspended)]).expect("who came too late has changed nothing");
    let third = take(&journal, 9).expect("it is given to us");
    assert_eq!(ticks(&third), [1, 1, 2, 3], "what the old one wrote too late is nowhere");
    third.pen.erase();
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn a_part_that_begins_anew_needs_nothing_of_what_came_before() {
    let (folder, journal) = journal();
    let mut first = take(&journal, 1).expect("nobody has it");
    first.pen.append(&opened(1)).expect("it is ours");
    let told = ToldBefore { messages: 4, received_samples: 640 };
    first.pen.begin_part(told, &opened(7)).expect("it is ours");
    first.pen.append(&[said(8, Signal::SessionSuspended)]).expect("it is ours");
    assert_eq!(files(folder.path()), 1);
    let mut second = take(&journal, 2).expect("it is given to us");
    assert_eq!(second.past.as_ref().map(|past| past.told), Some(told));
    assert_eq!(ticks(&second), [7, 7, 8]);
    assert!(is_stale(&first.pen.begin_part(told, &opened(9))));
    second.pen.append(&[said(9, Signal::SessionResumed)]).expect("it is ours");
    assert_eq!(take(&journal, 3).map(|third| ticks(&third)).ok(), Some(vec![7, 7, 8, 9]));
}

/// Many take one session at once, while the one that has it writes and begins parts. The highest epoch gets it, with all that
/// anybody was told is kept.
#[test]
fn of_many_that_take_a_session_at_once_the_highest_epoch_has_all_that_was_kept() {
    for round in 0..20 {
        let (_folder, journal) = journal();
        let mut first = take(&journal, 1).expect("nobody has it");
        first.pen.append(&opened(1)).expect("it is ours");
        let (kept, taken) = std::thread::scope(|threads| {
            let writer = threads.spawn(move || {
                let mut kept = 1;
                for tick in 2.. {
                    let part = tick % 5 == round % 5;
                    let done = if part {
                        first.pen.begin_part(ToldBefore::default(), &opened(tick))
                    } else {
                        first.pen.append(&[said(tick, Signal::SessionReady)])
                    };
                    if done.is_err() {
                        return kept;
                    }
                    kept = tick;
                }
                kept
            });
            let takers = [2, 3, 4, 5].map(|epoch| {
                let journal = &journal;
                threads.spawn(move || take(journal, epoch).ok().map(|taken| (epoch, ticks(&taken))))
            });
            let taken: Vec<_> = takers.into_iter().filter_map(|taker| taker.join().expect("it ends")).collect();
            (writer.join().expect("it ends"), taken)
        });
        let (epoch, ticks) = taken.last().expect("somebody has it");
        assert_eq!(*epoch, 5, "{taken:?}");
        assert!(ticks.last().is_some_and(|last| *last >= kept), "{kept} was kept, and {ticks:?} are there");
    }
}
