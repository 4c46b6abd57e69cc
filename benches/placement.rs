//! What it costs to find a worker for a session, in a fleet of 10,000 workers with 1,000,000 sessions that come and go, and how
//! evenly they fill. Prints; what must hold is a test beside the placer.

#![allow(clippy::print_stdout, reason = "a bench says what it measured")]

use std::time::{Duration, Instant};

use rspp::controlplane::placement::{Candidate, Placer, Wish};

const WORKERS: u64 = 10_000;
const SESSIONS: u64 = 1_000_000;
const REGIONS: [&str; 4] = ["eu", "us", "ap", "sa"];
/// Calls that end and begin while the fleet is full of them.
const CHANGES: u64 = 1_000_000;

fn main() {
    let mut placer = Placer::default();
    for number in 0..WORKERS {
        placer.set(&format!("worker-{number:05}"), candidate(number));
    }
    let mut placed: Vec<String> = Vec::with_capacity(SESSIONS as usize);
    let mut times: Vec<Duration> = Vec::with_capacity((SESSIONS + CHANGES) as usize);
    let mut chance = 88_172_645_463_325_252_u64;
    for number in 0..SESSIONS + CHANGES {
        if placed.len() as u64 >= SESSIONS {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let gone = placed.swap_remove((chance % SESSIONS) as usize);
            placer.leave(&gone);
        }
        // Every other caller wishes to be near.
        let region = number.is_multiple_of(2).then(|| REGIONS[(number / 2 % 4) as usize]);
        let began = Instant::now();
        let name = placer.place(Wish { pipeline: "assistant", region, not: None });
        times.push(began.elapsed());
        placed.push(name.expect("there is room for half as many more"));
    }
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1_000];
    println!("a decision: p50 {:?}, p99 {:?}, p99.9 {:?}, worst {:?}", at(500), at(990), at(999), at(1_000));
    let names: Vec<String> = placer.names().map(str::to_owned).collect();
    let fill = |name: &String| {
        let one = placer.get(name).expect("it is one of them");
        one.sessions as f64 / one.capacity as f64
    };
    let fills: Vec<f64> = names.iter().map(fill).collect();
    let mean = fills.iter().sum::<f64>() / fills.len() as f64;
    let worst = fills.iter().map(|fill| (fill / mean - 1.0).abs()).fold(0.0, f64::max);
    println!("filled to {:.1} %, no worker further from that than {:.1} % of it", mean * 100.0, worst * 100.0);
}

/// Workers of three sizes, in four places.
fn candidate(number: u64) -> Candidate {
    let (pipeline, region) = ("assistant".to_owned(), REGIONS[(number % 4) as usize].to_owned());
    Candidate { pipeline, region, capacity: 100 + number % 3 * 50, sessions: 0, load_permille: 0, is_open: true }
}
