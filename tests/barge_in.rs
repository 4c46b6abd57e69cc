//! A caller breaks into an answer, at every door: it is told to throw away what it has, and nothing of the old answer
//! follows. How soon it is told is a benchmark: `cargo bench --bench barge_in`.

#[path = "serve/doors.rs"]
mod doors;
#[path = "serve/house.rs"]
mod house;

use std::time::{Duration, Instant};

use doors::{DOORS, Door, Line, Reads};
use house::House;
use rspp::serve::Serve;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a peer that can't throw audio away gets instead: a decay from the last sample.
const DECAY: Duration = Duration::from_millis(10);
/// Frames of noise that are an interruption, by length.
const INTERRUPTS: usize = 30;
/// Frames of silence that end an utterance.
const PAUSES: usize = 40;

fn house() -> (House, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let spec = doors::pipeline(folder.path());
    (House::with(Serve { spec, ..House::options() }), folder)
}

fn until_audio(line: &mut Line, door: &Door, frames: usize) {
    let until = Instant::now() + PATIENCE;
    let mut came = 0;
    while came < frames {
        let next = line.next(until).unwrap_or_else(|| panic!("{}: no answer", door.name));
        came += usize::from(matches!(next, Reads::Audio(_)));
    }
}

fn sound(came: &[Reads]) -> Vec<Duration> {
    let length = |reads: &Reads| match reads {
        Reads::Audio(length) => Some(*length),
        Reads::Clear | Reads::Other => None,
    };
    came.iter().filter_map(length).collect()
}

#[test]
fn nothing_of_the_old_answer_follows_a_clear_at_any_door() {
    let (house, _folder) = house();
    for door in &DOORS {
        let mut line = Line::connect(door, house.address);
        for round in 0..3 {
            line.ask();
            until_audio(&mut line, door, 10);
            (0..INTERRUPTS).for_each(|_| line.speak(true));
            let until = Instant::now() + PATIENCE;
            while line.next(until).unwrap_or_else(|| panic!("{}: no {}", door.name, door.kin)) != Reads::Clear {}
            // While it makes a noise there can't be another answer: whatever sounds is of the old one.
            let mut came = line.until_pong(until);
            (0..INTERRUPTS).for_each(|_| line.speak(true));
            came.extend(line.until_pong(until));
            let after = sound(&came);
            let decay = if door.name == "RTVI" { DECAY } else { Duration::ZERO };
            assert!(after.iter().sum::<Duration>() <= decay, "{}, round {round}: {after:?} after it", door.name);
            (0..PAUSES).for_each(|_| line.speak(false));
        }
        line.ask();
        until_audio(&mut line, door, 1);
    }
}
