//! How soon a caller who breaks in is told to stop playing, at every door: from the first frame of speech that it sends to
//! the `clear` that it reads, or to what a door has in its place.
//!
//! Callers speak in real time, at all doors at once; each breaks into [`ROUNDS`] answers. An onset is four frames in a row
//! that are speech, so 80 ms from the beginning of the first to the end of the fourth. Of the time that is printed the onset
//! is a part: the promise is 60 ms beside it at the 95th percentile. *After* counts frames of the old answer behind the
//! clear; there are none, or the program fails.
//!
//! `cargo bench --bench barge_in` pins with `taskset` where that is there.

#[path = "../tests/serve/doors.rs"]
mod doors;
#[path = "process/mod.rs"]
mod process;

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use doors::{DOORS, Door, FRAME, Line, Reads};
use process::{Process, ms, percentile};
use rspp::adapters::admission::Capacity;
use rspp::adapters::server::Limits;

const CALLERS_AT_A_DOOR: u32 = 3;
const ROUNDS: usize = 30;
/// Audio of the answer that has come when the caller breaks in.
const INTO_THE_ANSWER: usize = 15;
/// Frames of noise: an interruption by its length.
const INTERRUPTS: usize = 30;
/// Of a caller who is never told.
const MOST_FRAMES: usize = 500;
/// Frames of silence behind it.
const PAUSES: usize = 40;
const ONSET: Duration = Duration::from_millis(80);
const PROMISED: Duration = Duration::from_millis(60);
/// What a client of RTVI gets behind it: a decay from the last sample.
const DECAY: Duration = Duration::from_millis(10);

fn main() {
    if std::env::args().nth(1).as_deref() == Some("server") {
        let folder = tempfile::tempdir().expect("there is room");
        return process::run(doors::pipeline(folder.path()), Limits::default(), Capacity::default());
    }
    let server = Process::start("server");
    let address = server.address;
    let callers: Vec<_> = DOORS
        .iter()
        .map(|door| {
            let call = move |number| thread::spawn(move || Caller::new(door, address, number).run());
            (door, (0..CALLERS_AT_A_DOOR).map(call).collect::<Vec<_>>())
        })
        .collect();
    let mut report = format!(
        "{:<16} {:<22} {:>6} {:>8} {:>8} {:>8} {:>16} {:>6}\n",
        "door", "told by", "breaks", "p50 ms", "p95 ms", "max ms", "p95 less onset", "after"
    );
    let (mut after, mut is_late) = (0, false);
    for (door, threads) in callers {
        let mut all = Measured::default();
        for one in threads {
            let one = one.join().expect("a caller does not panic");
            all.times.extend(one.times);
            all.after += one.after;
        }
        all.times.sort_unstable();
        let p95 = percentile(&all.times, 95);
        let beside = p95.saturating_sub(ONSET);
        (after, is_late) = (after + all.after, is_late || beside > PROMISED);
        report += &format!(
            "{:<16} {:<22} {:>6} {:>8} {:>8} {:>8} {:>16} {:>6}\n",
            door.name,
            door.kin,
            all.times.len(),
            ms(percentile(&all.times, 50)),
            ms(p95),
            ms(percentile(&all.times, 100)),
            ms(beside),
            all.after
        );
    }
    std::io::stdout().write_all(report.as_bytes()).expect("what it measured can be printed");
    assert_eq!(after, 0, "frames of an old answer came after it was cleared");
    assert!(!is_late, "a p95 is over the onset and {} ms", PROMISED.as_millis());
}

#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    after: usize,
}

struct Caller {
    line: Line,
    door: &'static Door,
    /// When the next frame is due.
    next: Instant,
    measured: Measured,
}

impl Caller {
    /// Callers begin at different places of a frame, so that they do not all speak at once.
    fn new(door: &'static Door, address: SocketAddr, number: u32) -> Self {
        let line = Line::connect(door, address);
        Self { line, door, next: Instant::now() + FRAME * number / CALLERS_AT_A_DOOR, measured: Measured::default() }
    }

    fn run(mut self) -> Measured {
        for _ in 0..ROUNDS {
            self.line.ask();
            self.listen();
            self.break_in();
            for _ in 0..PAUSES {
                self.frame(false);
            }
        }
        self.measured
    }

    /// Sends a frame, and gives what comes until the next is due, with its times.
    fn frame(&mut self, loud: bool) -> Vec<(Instant, Reads)> {
        self.line.speak(loud);
        self.next += FRAME;
        let mut came = Vec::new();
        while let Some(reads) = self.line.next(self.next) {
            came.push((Instant::now(), reads));
        }
        came
    }

    fn listen(&mut self) {
        let mut frames = 0;
        let until = Instant::now() + Duration::from_secs(20);
        while frames < INTO_THE_ANSWER {
            assert!(Instant::now() < until, "{}: no answer", self.door.name);
            let came = self.frame(false);
            frames += came.iter().filter(|(_, reads)| matches!(reads, Reads::Audio(_))).count();
        }
    }

    /// While it makes a noise there can't be another answer: what sounds behind the clear is of the old one.
    fn break_in(&mut self) {
        let began = Instant::now();
        let mut cleared = None;
        let mut behind = Vec::new();
        let mut frames = 0;
        while frames < INTERRUPTS || cleared.is_none() {
            frames += 1;
            assert!(frames < MOST_FRAMES, "{}: no {}", self.door.name, self.door.kin);
            for (at, reads) in self.frame(true) {
                match reads {
                    Reads::Clear if cleared.is_none() => cleared = Some(at),
                    Reads::Audio(length) if cleared.is_some() => behind.push(length),
                    _ => {}
                }
            }
        }
        self.measured.times.extend(cleared.map(|at| at - began));
        let is_decay = self.door.name == "RTVI" && behind.iter().sum::<Duration>() <= DECAY;
        self.measured.after += if is_decay { 0 } else { behind.len() };
    }
}
