//! Walks two calls side by side, and says where they part and how.

use std::collections::BTreeSet;

use rspp_specs::time::Micros;
use serde::{Deserialize, Serialize};

use super::events::{Event, Nature};

/// How far an event is looked for that the other call has at once.
const WINDOW: usize = 256;
/// Divergences that are told; more are counted.
const MAX_TOLD: usize = 1_000;

/// How two calls part (`F-077`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Class {
    /// The same things happen at the same time, in another order.
    Ordering,
    /// Something else was planned: another provider is asked, or the plans differ and nothing came of it.
    Plan,
    /// Something else came of it.
    Outcome,
    /// The same thing happens at another time, or something happens because another time has passed.
    Timing,
    /// Who may write the session. Always a failure.
    Authority,
}

impl Class {
    /// All.
    pub const ALL: [Class; 5] = [Class::Ordering, Class::Plan, Class::Outcome, Class::Timing, Class::Authority];

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Ordering => "ORDERING",
            Class::Plan => "PLAN",
            Class::Outcome => "OUTCOME",
            Class::Timing => "TIMING",
            Class::Authority => "AUTHORITY",
        }
    }
}

/// One event of one of two calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// The session's tick.
    pub tick: u64,
    /// When.
    pub at_ms: f64,
    /// The event, as traces have it.
    pub event: String,
}

impl Place {
    fn of(event: &Event) -> Self {
        Self { tick: event.tick, at_ms: crate::timeline::ms(event.at), event: event.line.clone() }
    }
}

/// Where two calls part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// How.
    pub class: Class,
    /// What the first call has there.
    pub a: Option<Place>,
    /// What the second has.
    pub b: Option<Place>,
    /// More, in words.
    pub detail: String,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) divergences: Vec<Divergence>,
    pub(super) counts: [u64; 5],
}

impl Found {
    fn add(&mut self, class: Class, a: Option<&Event>, b: Option<&Event>, detail: String) {
        self.counts[class as usize] += 1;
        if self.divergences.len() < MAX_TOLD {
            self.divergences.push(Divergence { class, a: a.map(Place::of), b: b.map(Place::of), detail });
        }
    }
}

/// Compares two calls. Times count from each call's beginning; one that drifts by more than `tolerance` is told once, and not
/// again for all that follows.
pub(super) fn walk(a: &[Event], b: &[Event], tolerance: Micros) -> Found {
    let drift = a.first().zip(b.first()).map_or(0, |(a, b)| b.at.0 as i64 - a.at.0 as i64);
    let mut walk = Walk { a: Side::of(a), b: Side::of(b), tolerance, drift, found: Found::default() };
    while walk.step() {}
    walk.found
}

struct Walk<'a> {
    a: Side<'a>,
    b: Side<'a>,
    tolerance: Micros,
    /// How much later the second call is, in microseconds.
    drift: i64,
    found: Found,
}

/// One call, and how far it was walked.
struct Side<'a> {
    events: &'a [Event],
    next: usize,
    /// Events that were met out of their order.
    met: BTreeSet<usize>,
}

impl<'a> Side<'a> {
    fn of(events: &'a [Event]) -> Self {
        Self { events, next: 0, met: BTreeSet::new() }
    }

    fn here(&mut self) -> Option<&'a Event> {
        while self.met.remove(&self.next) {
            self.next += 1;
        }
        self.events.get(self.next)
    }

    /// The next one like this, and its place.
    fn find(&self, key: &str) -> Option<(usize, &'a Event)> {
        let ahead = self.events.iter().enumerate().skip(self.next).take(WINDOW);
        ahead.filter(|(place, _)| !self.met.contains(place)).find(|(_, event)| event.key == key)
    }
}

impl Walk<'_> {
    fn step(&mut self) -> bool {
        match (self.a.here(), self.b.here()) {
            (None, None) => return false,
            (Some(a), Some(b)) if a.key == b.key => {
                self.compare_times(a, b);
                (self.a.next, self.b.next) = (self.a.next + 1, self.b.next + 1);
            }
            (Some(a), Some(b)) => self.part(a, b),
            (Some(a), None) => {
                self.found.add(of_one(a), Some(a), None, "the first call alone goes on".to_owned());
                self.a.next = self.a.events.len();
            }
            (None, Some(b)) => {
                self.found.add(of_one(b), None, Some(b), "the second call alone goes on".to_owned());
                self.b.next = self.b.events.len();
            }
        }
        true
    }

    fn compare_times(&mut self, a: &Event, b: &Event) {
        let drift = b.at.0 as i64 - a.at.0 as i64;
        let change = drift - self.drift;
        if change.unsigned_abs() > self.tolerance.0 {
            let how = if change > 0 { "later" } else { "earlier" };
            let detail = format!("{} ms {how} than in the first call", Micros(change.unsigned_abs()));
            self.found.add(Class::Timing, Some(a), Some(b), detail);
            self.drift = drift;
        }
    }

    /// The calls part here.
    fn part(&mut self, a: &Event, b: &Event) {
        let (a_in_b, b_in_a) = (self.b.find(&a.key), self.a.find(&b.key));
        let shift = |x: &Event, y: &Event| y.at.0 as i64 - x.at.0 as i64 - self.drift;
        if let (Some((in_b, later)), Some((in_a, earlier))) = (a_in_b, b_in_a) {
            let (shift_a, shift_b) = (shift(a, later), shift(earlier, b));
            let by = Micros(shift_a.unsigned_abs().max(shift_b.unsigned_abs()));
            // Both have both. Where one has moved in time and the other has not, that is what happened; where neither
            // has, or they have changed places, it is the order.
            let moves = |shift: i64| shift.unsigned_abs() > self.tolerance.0;
            let class = if moves(shift_a) != moves(shift_b) { Class::Timing } else { Class::Ordering };
            if shift_a.unsigned_abs() >= shift_b.unsigned_abs() {
                let detail = moved(class, by, "in the second call something else comes before it");
                let with = if class == Class::Timing { later } else { b };
                self.found.add(class, Some(a), Some(with), detail);
                self.b.met.insert(in_b);
                self.a.next += 1;
            } else {
                let detail = moved(class, by, "in the first call it comes later");
                self.found.add(class, Some(earlier), Some(b), detail);
                self.a.met.insert(in_a);
                self.b.next += 1;
            }
            return;
        }
        self.skip(a, b);
    }

    /// One of the two has something that the other has not: walks on to where they meet again.
    fn skip(&mut self, a: &Event, b: &Event) {
        let (skips_a, skips_b) = self.meet();
        let (class, detail) = match (skips_a, skips_b) {
            (0, _) => (of_one(b), "the second call alone has this".to_owned()),
            (_, 0) => (of_one(a), "the first call alone has this".to_owned()),
            _ => of_both(a, b),
        };
        let (shown_a, shown_b) = match (skips_a, skips_b) {
            (0, _) => (None, Some(b)),
            (_, 0) => (Some(a), None),
            _ => (Some(a), Some(b)),
        };
        // An authority's word within what is skipped outweighs what stands before it.
        let skipped = |side: &Side<'_>, count: usize| {
            let events = &side.events[side.next..(side.next + count).min(side.events.len())];
            events.iter().any(|event| event.nature == Nature::Authority)
        };
        let outweighs = skipped(&self.a, skips_a) || skipped(&self.b, skips_b);
        let class = if outweighs { Class::Authority } else { class };
        self.found.add(class, shown_a, shown_b, detail);
        self.a.next += skips_a;
        self.b.next += skips_b;
    }

    /// How many events of each lie before the next that both have: the fewest.
    fn meet(&self) -> (usize, usize) {
        let (a, b) = (&self.a.events[self.a.next..], &self.b.events[self.b.next..]);
        let most = WINDOW.min(a.len() + b.len());
        for sum in 1..=most {
            for skips_a in 0..=sum.min(a.len()) {
                let skips_b = sum - skips_a;
                let (Some(x), Some(y)) = (a.get(skips_a), b.get(skips_b)) else { continue };
                let next_too = match (a.get(skips_a + 1), b.get(skips_b + 1)) {
                    (Some(x), Some(y)) => x.key == y.key || x.subject == y.subject,
                    _ => true,
                };
                if x.key == y.key && next_too {
                    return (skips_a, skips_b);
                }
            }
        }
        // They do not meet within the window: one of each is passed.
        (1.min(a.len()), 1.min(b.len()))
    }
}

fn moved(class: Class, by: Micros, order: &str) -> String {
    match class {
        Class::Timing => format!("moved by {by} ms, past others"),
        _ => order.to_owned(),
    }
}

fn of_one(event: &Event) -> Class {
    match event.nature {
        Nature::Authority => Class::Authority,
        Nature::Timed => Class::Timing,
        Nature::Other => Class::Outcome,
    }
}

fn of_both(a: &Event, b: &Event) -> (Class, String) {
    if [a, b].iter().any(|event| event.nature == Nature::Authority) {
        return (Class::Authority, String::new());
    }
    if a.unbound == b.unbound {
        return (Class::Plan, "another provider is asked".to_owned());
    }
    if a.subject == b.subject {
        return (Class::Outcome, "the same step has another result".to_owned());
    }
    match [a, b].iter().find(|event| event.nature == Nature::Timed) {
        Some(_) => (Class::Timing, "a time has passed in one of them".to_owned()),
        None => (Class::Outcome, "something else happens".to_owned()),
    }
}
