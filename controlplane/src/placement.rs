//! Which worker a session goes to (`F-094`).
//!
//! Workers stand in an order, by how full they are for their size, then by who was given something longest ago: the first that
//! may is taken. So they fill evenly, none is passed over while it has the most room, and a decision costs a walk down a tree.

use std::collections::{BTreeMap, BTreeSet};

/// A worker that takes more than this is shed to nobody: it says that it has more to do than it can.
pub const MAX_LOAD_PERMILLE: u64 = 900;

/// What is known of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The pipeline that it serves: sessions of others never go to it.
    pub pipeline: String,
    /// Where it is; a session may wish to be there.
    pub region: String,
    /// Sessions that it can hold.
    pub capacity: u64,
    /// Sessions that it has.
    pub sessions: u64,
    /// How much it has to do.
    pub load_permille: u64,
    /// Whether it is alive, healthy, and takes sessions.
    pub is_open: bool,
}

impl Candidate {
    fn has_room(&self) -> bool {
        self.is_open && self.sessions < self.capacity && self.load_permille <= MAX_LOAD_PERMILLE
    }

    /// How full it is for its size, in parts of 2^20.
    fn fill(&self) -> u64 {
        (self.sessions << 20) / self.capacity.max(1)
    }
}

/// What a session wishes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// What it runs.
    pub pipeline: &'a str,
    /// To be here, if there is room.
    pub region: Option<&'a str>,
    /// Not to be here: it was just taken from there.
    pub not: Option<&'a str>,
}

/// Nobody has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no worker has room for one more session")]
pub struct NoRoom;

/// Fill, when something was given last, name.
type Place = (u64, u64, String);

/// The workers, in the order in which they are taken.
#[derive(Debug, Default)]
pub struct Placer {
    workers: BTreeMap<String, (Candidate, u64)>,
    /// Those with room, by pipeline and region.
    order: BTreeMap<String, BTreeMap<String, BTreeSet<Place>>>,
    given: u64,
}

impl Placer {
    /// Something is known of a worker that was not.
    pub fn set(&mut self, name: &str, candidate: Candidate) {
        let given = self.take_out(name).map_or(0, |(_, given)| given);
        self.put(name, candidate, given);
    }

    /// There is no such worker any more.
    pub fn remove(&mut self, name: &str) {
        self.take_out(name);
    }

    /// What is known of a worker.
    pub fn get(&self, name: &str) -> Option<&Candidate> {
        self.workers.get(name).map(|(candidate, _)| candidate)
    }

    /// All of them, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.workers.keys().map(String::as_str)
    }

    /// Room for sessions of this pipeline, and what of it is taken.
    pub fn room(&self, pipeline: &str) -> (u64, u64) {
        let open = self.workers.values().filter(|(one, _)| one.is_open && one.pipeline == pipeline);
        open.fold((0, 0), |(capacity, taken), (one, _)| (capacity + one.capacity, taken + one.sessions))
    }

    /// Gives a session to the worker that has the most room for its size.
    ///
    /// # Errors
    /// Nobody has room.
    pub fn place(&mut self, wish: Wish<'_>) -> Result<String, NoRoom> {
        let name = self.first(wish).ok_or(NoRoom)?;
        let (mut candidate, _) = self.take_out(&name).ok_or(NoRoom)?;
        candidate.sessions += 1;
        self.given += 1;
        self.put(&name, candidate, self.given);
        Ok(name)
    }

    /// A session is not there any more.
    pub fn leave(&mut self, name: &str) {
        if let Some((mut candidate, given)) = self.take_out(name) {
            candidate.sessions = candidate.sessions.saturating_sub(1);
            self.put(name, candidate, given);
        }
    }

    fn first(&self, wish: Wish<'_>) -> Option<String> {
        let may = |place: &&Place| wish.not != Some(place.2.as_str());
        let regions = self.order.get(wish.pipeline)?;
        let near = wish.region.and_then(|region| regions.get(region)?.iter().find(may));
        near.or_else(|| regions.values().filter_map(|order| order.iter().find(may)).min()).map(|place| place.2.clone())
    }

    fn put(&mut self, name: &str, candidate: Candidate, given: u64) {
        if candidate.has_room() {
            let regions = self.order.entry(candidate.pipeline.clone()).or_default();
            let order = regions.entry(candidate.region.clone()).or_default();
            order.insert((candidate.fill(), given, name.to_owned()));
        }
        self.workers.insert(name.to_owned(), (candidate, given));
    }

    fn take_out(&mut self, name: &str) -> Option<(Candidate, u64)> {
        let (candidate, given) = self.workers.remove(name)?;
        let regions = self.order.get_mut(&candidate.pipeline);
        if let Some(order) = regions.and_then(|regions| regions.get_mut(&candidate.region)) {
            order.remove(&(candidate.fill(), given, name.to_owned()));
        }
        Some((candidate, given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(region: &str, capacity: u64, sessions: u64) -> Candidate {
        let pipeline = "p".to_owned();
        Candidate { pipeline, region: region.into(), capacity, sessions, load_permille: 0, is_open: true }
    }

    const ANY: Wish<'static> = Wish { pipeline: "p", region: None, not: None };

    fn check(workers: &[(&str, Candidate)], wish: Wish<'_>, expected: &[&str]) {
        let mut placer = Placer::default();
        workers.iter().for_each(|(name, candidate)| placer.set(name, candidate.clone()));
        let placed: Vec<String> = std::iter::from_fn(|| placer.place(wish).ok()).take(expected.len() + 1).collect();
        assert_eq!(placed, expected, "{workers:?} {wish:?}");
    }

    #[test]
    fn the_one_with_the_most_room_for_its_size_is_taken() {
        let (a, b) = (("a", candidate("eu", 2, 0)), ("b", candidate("us", 4, 2)));
        let both = [a.clone(), b.clone()];
        check(&both, ANY, &["a", "b", "a", "b"]);
        check(&both, Wish { region: Some("us"), ..ANY }, &["b", "b", "a", "a"]);
        check(&both, Wish { not: Some("a"), ..ANY }, &["b", "b"]);
        check(&both, Wish { pipeline: "other", ..ANY }, &[]);
        check(&[], ANY, &[]);
        let closed = Candidate { is_open: false, ..candidate("eu", 9, 0) };
        let busy = Candidate { load_permille: MAX_LOAD_PERMILLE + 1, ..candidate("eu", 9, 0) };
        check(&[("closed", closed), ("busy", busy), a], ANY, &["a", "a"]);
    }

    #[test]
    fn equals_take_turns() {
        let workers = ["a", "b", "c"].map(|name| (name, candidate("eu", 3, 1)));
        check(&workers, ANY, &["a", "b", "c", "a", "b", "c"]);
    }

    /// Calls come and go for a long time; sizes differ. Nobody is ever fuller than a tenth above the rest, and nobody is
    /// passed over.
    #[test]
    fn a_fleet_fills_evenly_while_calls_come_and_go() {
        let (mut placer, workers, sessions) = (Placer::default(), 200_u64, 20_000_u64);
        for number in 0..workers {
            placer.set(&format!("w{number}"), candidate("eu", 100 + number % 3 * 100, 0));
        }
        let mut placed: Vec<String> = Vec::new();
        let mut chance = 88_172_645_463_325_252_u64;
        let mut dice = |sides: usize| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            (chance % sides as u64) as usize
        };
        for _ in 0..sessions * 5 {
            if placed.len() as u64 >= sessions {
                let gone = placed.swap_remove(dice(placed.len()));
                placer.leave(&gone);
            }
            placed.push(placer.place(ANY).expect("there is room for twice as many"));
        }
        let fills: Vec<f64> =
            placer.workers.values().map(|(one, _)| one.sessions as f64 / one.capacity as f64).collect();
        let mean = fills.iter().sum::<f64>() / fills.len() as f64;
        let worst = fills.iter().map(|fill| (fill / mean - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst <= 0.1, "one worker is {:.1} % from the mean", worst * 100.0);
        let given: Vec<u64> = placer.workers.values().map(|(_, given)| *given).collect();
        assert!(given.iter().all(|at| placer.given - at < workers * 10), "somebody was passed over");
    }
}
