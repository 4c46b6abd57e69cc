//! Workers are killed under their calls, stand still and wake, and are told to end, one after another; the control plane is
//! killed, too. Every call goes on at another worker, with its conversation: no heard word is missing from it, and nothing is
//! heard twice.
//!
//! `CHAOS=long cargo test --release --test chaos -- --nocapture` is the long form: 60 calls, a random worker
//! every 20 s for 5 minutes, 30 s of standing still, a control plane that is gone for 60 s. It judges how long callers were
//! without a worker, too.
#![cfg(unix)]

#[path = "fleet/caller.rs"]
mod caller;
#[path = "fleet/house.rs"]
mod house;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use caller::{Caller, Moment};
use house::{Plane, Worker};
use rspp::adapters::journal::{Journal, SharedFolder, Whose};
use rspp::controlplane::wire::SessionStory;
use rspp::specs::event::{ContextEntry, Request};
use rspp::specs::ids::LeaseEpoch;
use rspp::specs::timeline::{Effect, Entry, Input, Signal};

const WORKERS: [&str; 3] = ["w1", "w2", "w3"];
/// How long anything may take until the test fails: far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the time that callers were without a worker.
const LONGEST_P95: Duration = Duration::from_secs(2);
/// Audio that stops for longer than this is a gap.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// How much of it.
#[derive(Clone, Copy)]
struct Size {
    calls: usize,
    blows: usize,
    every: Duration,
    stands_still: Duration,
    plane_is_away: Duration,
    is_long: bool,
}

fn size() -> Size {
    let secs = Duration::from_secs;
    if std::env::var_os("CHAOS").is_some_and(|value| value == "long") {
        return Size {
            calls: 60,
            blows: 15,
            every: secs(20),
            stands_still: secs(30),
            plane_is_away: secs(60),
            is_long: true,
        };
    }
    Size { calls: 6, blows: 2, every: secs(0), stands_still: secs(3), plane_is_away: secs(3), is_long: false }
}

/// What a call tells of itself.
#[derive(Debug)]
enum News {
    /// It is with this worker now.
    With(usize, String, Instant),
    /// It has heard an answer to the end.
    Answered(usize),
}

/// Talks until it is over; whoever is lost is found again.
fn talk(mut caller: Caller, number: usize, news: &Sender<News>, over: &AtomicBool) -> Caller {
    let mut lost_at = None;
    let mut answered = 0;
    // Who is being answered hears it to its end.
    while !over.load(Ordering::Relaxed) || caller.is_waiting() {
        if caller.listen() == Moment::Lost {
            let since = *lost_at.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < PATIENCE, "call {number} finds nobody");
            if caller.find_again() {
                lost_at = None;
                let _ = news.send(News::With(number, caller.route.worker.clone(), Instant::now()));
            }
            continue;
        }
        if !over.load(Ordering::Relaxed) || caller.is_waiting() {
            caller.go_on();
        }
        if caller.answered > answered {
            answered = caller.answered;
            let _ = news.send(News::Answered(number));
        }
    }
    caller
}

/// A fleet with calls that talk.
struct Fleet {
    plane: Plane,
    journal: tempfile::TempDir,
    workers: Vec<Option<Worker>>,
    news: Receiver<News>,
    with: Vec<String>,
    /// How long callers were without a worker.
    waits: Vec<Duration>,
    /// How often a caller found a worker, be it another one or the one before.
    found: usize,
}

impl Fleet {
    fn start(news: Receiver<News>, calls: usize) -> Self {
        let plane = Plane::start();
        plane.says(&["publish", "tests/serve/pipeline.yaml"]);
        plane.says(&["rollout", "served", "--version", "1"]);
        let journal = tempfile::tempdir().expect("there is a folder for temporary files");
        let (with, waits) = (vec![String::new(); calls], Vec::new());
        let mut fleet = Self { plane, journal, workers: Vec::new(), news, with, waits, found: 0 };
        fleet.workers = (0..WORKERS.len()).map(|which| Some(fleet.worker(which))).collect();
        fleet
    }

    fn worker(&self, which: usize) -> Worker {
        let journal = self.journal.path().display().to_string();
        Worker::start(&self.plane, WORKERS[which], &["--journal", &journal, "--drain", "20"])
    }

    /// Reads what calls tell, until something is so of all of them.
    fn wait(&mut self, mut is: impl FnMut(&News, &[String]) -> bool) {
        loop {
            let one = self.news.recv_timeout(PATIENCE).expect("calls go on");
            if let News::With(call, worker, _) = &one {
                self.with[*call].clone_from(worker);
                self.found += 1;
            }
            if is(&one, &self.with) {
                return;
            }
        }
    }

    /// Reads what calls tell for so long.
    fn watch(&mut self, until: Instant) {
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.news.recv_timeout(left) {
                Ok(News::With(call, worker, _)) => {
                    self.with[call] = worker;
                    self.found += 1;
                }
                Ok(News::Answered(_)) => {}
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("calls go on"),
            }
        }
    }

    /// Until all of this worker's calls are with others, and have heard an answer there.
    fn go_on(&mut self, which: usize, since: Instant) {
        let victims: Vec<usize> = (0..self.with.len()).filter(|call| self.with[*call] == WORKERS[which]).collect();
        if victims.is_empty() {
            return;
        }
        let (mut answered, mut waits) = (vec![false; self.with.len()], Vec::new());
        self.wait(|one, with| {
            match one {
                News::With(call, worker, at) if victims.contains(call) && worker != WORKERS[which] => {
                    waits.push(at.saturating_duration_since(since));
                }
                News::Answered(call) => answered[*call] |= with[*call] != WORKERS[which],
                News::With(..) => {}
            }
            victims.iter().all(|call| answered[*call])
        });
        self.waits.append(&mut waits);
    }

    fn everybody_answers(&mut self) {
        let mut answered = vec![false; self.with.len()];
        self.wait(|one, _| {
            if let News::Answered(call) = one {
                answered[*call] = true;
            }
            answered.iter().all(|answered| *answered)
        });
    }
}

/// One fleet at a time: a second one would take the time that the first one needs.
static ALONE: Mutex<()> = Mutex::new(());

/// Has calls talk while `harm` is done to their fleet, and judges what they have heard.
fn chaos(name: &str, size: Size, harm: impl FnOnce(&mut Fleet)) -> Vec<Caller> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (tell, news) = channel();
    let mut fleet = Fleet::start(news, size.calls);
    let (over, done) = (AtomicBool::new(false), Arc::new(Mutex::new(Vec::new())));
    std::thread::scope(|threads| {
        let calls: Vec<_> = (0..size.calls)
            .map(|number| {
                let caller = Caller::new(fleet.plane.client(), &format!("call-{number}"));
                let (tell, over, done) = (tell.clone(), &over, Arc::clone(&done));
                threads.spawn(move || {
                    let caller = talk(caller, number, &tell, over);
                    done.lock().expect("nobody panics with it").push(caller);
                })
            })
            .collect();
        // A call that fails says why, and nobody waits for it.
        fleet.wait(|_, with| with.iter().all(|worker| !worker.is_empty()));
        fleet.everybody_answers();
        harm(&mut fleet);
        fleet.everybody_answers();
        over.store(true, Ordering::Relaxed);
        calls.into_iter().for_each(|call| call.join().expect("it talks until it is over"));
    });
    let mut callers = std::mem::take(&mut *done.lock().expect("nobody panics with it"));
    judge(name, &mut fleet, &mut callers, size);
    callers
}

fn judge(name: &str, fleet: &mut Fleet, callers: &mut [Caller], size: Size) {
    let late: usize = callers.iter_mut().map(Caller::late_frames).sum();
    let answers: u32 = callers.iter().map(|caller| caller.answered).sum();
    let gap = callers.iter().map(|caller| caller.longest_gap).max().unwrap_or_default();
    let waits = &mut fleet.waits;
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    eprintln!(
        "{name}: {} calls, {answers} answers, {} losses; without a worker p50 {:?}, p95 {:?}, at most {:?}; \
         longest gap in an answer {gap:?}; {late} frames came over lines that were given up, and were not played",
        callers.len(),
        waits.len(),
        at(50),
        at(95),
        at(100)
    );
    let mut wrong: Vec<String> = callers.iter().flat_map(Caller::judge).collect();
    for caller in callers.iter() {
        wrong.extend(conversation(fleet.journal.path(), caller));
        let story: SessionStory = fleet
            .plane
            .client()
            .get(&format!("/v1/sessions/acme/{}", caller.route.session))
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(story.journey.is_sorted_by(|a, b| a.epoch < b.epoch), "{story:?}");
        assert_eq!((story.session.epoch, &story.session.worker), (caller.route.epoch, &caller.route.worker));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!size.is_long || at(95) <= LONGEST_P95, "callers waited for too long");
}

/// What the model was last told of a call has every word that its caller has heard by then, and no other. It stands in the
/// journal, which this takes from the worker: whatever that one still does is refused.
fn conversation(journal: &Path, caller: &Caller) -> Vec<String> {
    let session = &caller.route.session;
    let whose = Whose { tenant: "acme".into(), session: session.as_str().into() };
    let taken = SharedFolder::open(journal).and_then(|journal| journal.take(&whose, LeaseEpoch(u64::MAX)));
    let past = taken.unwrap_or_else(|error| panic!("{error}")).past.expect("it is kept");
    let (mut context, mut turn) = (None, 0);
    for record in &past.records {
        match &record.entry {
            // With what it began afresh.
            Entry::Input(_, Input::SessionOpen(open)) => {
                turn = open.resume.turns;
                context = Some((turn + 1, Arc::clone(&open.resume.context)));
            }
            Entry::Signal(Some(of), Signal::TurnOpen { .. }) => turn = of.0,
            Entry::Effect(Effect::Invoke { request: Request::Chat { context: of, .. }, .. }) => {
                context = Some((turn, Arc::clone(of)));
            }
            _ => {}
        }
    }
    let Some((turn, context)) = context else { return vec![format!("{session}: the model was asked nothing")] };
    let told: Vec<(String, bool)> = context
        .iter()
        .filter_map(|entry| match entry {
            ContextEntry::Agent { text, cut } => Some((text.to_string(), *cut)),
            _ => None,
        })
        .collect();
    let heard: Vec<(String, bool)> = caller
        .turns
        .range(..turn)
        .filter_map(|(_, heard)| heard.text.clone())
        .filter(|(text, _)| !text.is_empty())
        .collect();
    let kept = &heard[heard.len().saturating_sub(told.len())..];
    let is_whole = told.len() == heard.len() || context.len() >= rspp::specs::limits::MAX_CONTEXT_ENTRIES;
    if is_whole && told == kept {
        Vec::new()
    } else {
        vec![format!(
            "{session}: of {} answers that were heard the model is told {}: {told:?} {heard:?}",
            heard.len(),
            told.len()
        )]
    }
}

/// Whose turn it is, by chance that is the same each time.
fn random(chance: &mut u64) -> usize {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    (*chance % WORKERS.len() as u64) as usize
}

#[test]
fn every_call_goes_on_with_its_conversation_when_its_worker_is_killed() {
    let size = size();
    chaos("killed", size, |fleet| {
        let mut chance = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..size.blows {
            let (which, began) = (random(&mut chance), Instant::now());
            if let Some(mut worker) = fleet.workers[which].take() {
                worker.kill();
            }
            fleet.go_on(which, began);
            fleet.workers[which] = Some(fleet.worker(which));
            fleet.watch(began + size.every);
        }
    });
}

#[test]
fn a_worker_that_stands_still_and_wakes_has_nothing_to_say_any_more() {
    let size = size();
    chaos("stood still", size, |fleet| {
        let mut chance = 0x2545_f491_4f6c_dd1d;
        for _ in 0..size.blows.div_ceil(4) {
            let (which, began) = (random(&mut chance), Instant::now());
            let signal = |fleet: &Fleet, signal| fleet.workers[which].iter().for_each(|worker| worker.signal(signal));
            signal(fleet, "STOP");
            fleet.go_on(which, began);
            fleet.watch(began + size.stands_still);
            signal(fleet, "CONT");
            fleet.everybody_answers();
            fleet.watch(began + size.stands_still + size.every);
        }
    });
}

#[test]
fn a_control_plane_that_is_killed_or_away_is_not_noticed_by_running_calls() {
    let size = size();
    chaos("control plane", size, |fleet| {
        let found = fleet.found;
        fleet.plane.kill();
        fleet.plane.start_again();
        fleet.everybody_answers();
        let began = Instant::now();
        fleet.plane.kill();
        fleet.watch(began + size.plane_is_away);
        fleet.everybody_answers();
        fleet.plane.start_again();
        fleet.everybody_answers();
        assert_eq!(fleet.found, found, "nobody lost its worker");
    })
    .iter()
    .for_each(|caller| assert!(caller.longest_gap < LONGEST_GAP, "{:?}", caller.longest_gap));
}

#[test]
fn all_workers_are_begun_anew_one_after_another_and_no_call_is_dropped() {
    let size = size();
    let callers = chaos("rolling restart", size, |fleet| {
        for which in 0..WORKERS.len() {
            let began = Instant::now();
            let worker = fleet.workers[which].take().expect("it runs");
            worker.signal("TERM");
            fleet.go_on(which, began);
            worker.ended();
            fleet.workers[which] = Some(fleet.worker(which));
        }
    });
    for caller in callers {
        assert!(caller.longest_gap < LONGEST_GAP, "{}: {:?}", caller.route.session, caller.longest_gap);
    }
}
