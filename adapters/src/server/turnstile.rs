//! Who may come in: so many connections from one address at a time, so many of them that are no calls yet, and so many new
//! ones in a second, of each address and in all. Whoever comes too often is turned away before anything is spent on it, and
//! the others' calls do not notice.
//!
//! It reads no clock. What is known of an address that has no connections is forgotten when that changes nothing any more.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Limits;
use crate::transport::{Refusal, RefusalCode};

/// Addresses of which something is known. When there are more, it is forgotten how often those came that have no connections.
const MAX_ADDRESSES: usize = 8_192;
/// Seconds' worth of new connections that may come at once from an address.
const BURST_SECONDS: f64 = 10.0;
/// Who breaks the rules uses up so many of its address's new connections.
const BREACH: f64 = 20.0;
/// When more come in all than may, nobody is taken for so long.
const PAUSE: Duration = Duration::from_millis(5);

/// From where somebody comes. Who has an address of version 6 has all that begin like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Four(Ipv4Addr),
    Six([u16; 4]),
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Origin::Four(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Origin::Six([a, b, c, d])
            }
        }
    }
}

/// Something of which there is so much in a second.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: f64,
    filled_at: Instant,
}

impl Allowance {
    fn new(most: f64, now: Instant) -> Self {
        Self { left: most, filled_at: now }
    }

    fn fill(&mut self, per_second: f64, most: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.left = (self.left + passed * per_second).min(most);
        self.filled_at = now;
    }

    fn take(&mut self) -> bool {
        let takes = self.left >= 1.0;
        self.left -= f64::from(u8::from(takes));
        takes
    }
}

/// What is known of an address.
#[derive(Clone, Copy, Debug)]
struct Known {
    connections: usize,
    /// Those that are no calls yet.
    waiting: usize,
    arrivals: Allowance,
}

/// Who is there, and how often they came.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<BTreeMap<Origin, Known>>);

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Origin, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody comes, and is there from now on if that may be.
    pub(super) fn arrive(&self, limits: &Limits, from: Origin, now: Instant) -> Result<(), Refusal> {
        let mut all = self.lock();
        let per_second = f64::from(limits.arrivals_of_an_address);
        let most = per_second * BURST_SECONDS;
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&from) {
            all.retain(|_, known| known.connections > 0);
        }
        let unknown = Known { connections: 0, waiting: 0, arrivals: Allowance::new(most, now) };
        let known = all.entry(from).or_insert(unknown);
        known.arrivals.fill(per_second, most, now);
        if !known.arrivals.take() {
            let says = format!("this address comes more often than {per_second} times a second: come again later");
            return Err(Refusal::fatal(RefusalCode::TooFast, says));
        }
        if known.connections >= limits.connections_of_an_address {
            let says = format!("this address has {} connections, which is as many as it may have", known.connections);
            return Err(Refusal::fatal(RefusalCode::OverQuota, says));
        }
        if known.waiting >= limits.waiting_of_an_address {
            let says = format!("this address has {} connections that are no calls: end some of them", known.waiting);
            return Err(Refusal::fatal(RefusalCode::OverQuota, says));
        }
        known.connections += 1;
        known.waiting += 1;
        Ok(())
    }

    /// Who came is a call from now on.
    pub(super) fn become_call(&self, from: Origin) {
        if let Some(known) = self.lock().get_mut(&from) {
            known.waiting = known.waiting.saturating_sub(1);
        }
    }

    /// Who came broke the rules, and will be gone: its address may come less often.
    pub(super) fn misbehave(&self, from: Origin) {
        if let Some(known) = self.lock().get_mut(&from) {
            known.arrivals.left = (known.arrivals.left - BREACH).max(0.0);
        }
    }

    /// Who came has gone.
    pub(super) fn leave(&self, from: Origin, was_call: bool) {
        if let Some(known) = self.lock().get_mut(&from) {
            known.connections = known.connections.saturating_sub(1);
            known.waiting = known.waiting.saturating_sub(usize::from(!was_call));
        }
    }
}

/// How many come in all.
pub(super) struct Pace {
    per_second: f64,
    allowance: Allowance,
}

impl Pace {
    /// So many in a second.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let per_second = f64::from(limits.arrivals).max(1.0);
        Self { per_second, allowance: Allowance::new(per_second, now) }
    }

    /// One more comes. Gives for how long nobody else is to be taken: who waits meanwhile costs nothing but patience.
    pub(super) fn on_arrival(&mut self, now: Instant) -> Option<Duration> {
        self.allowance.fill(self.per_second, self.per_second, now);
        (!self.allowance.take()).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_of_an_address: 3,
            waiting_of_an_address: 2,
            arrivals_of_an_address: 1,
            arrivals: 10,
            ..Limits::default()
        }
    }

    fn four(last: u8) -> Origin {
        IpAddr::from([127, 0, 0, last]).into()
    }

    fn code(arrived: Result<(), Refusal>) -> Option<RefusalCode> {
        arrived.err().map(|refusal| refusal.code)
    }

    #[test]
    fn an_address_has_so_many_connections_and_so_many_that_are_no_calls() {
        let (arrivals, limits, now) = (Arrivals::default(), limits(), Instant::now());
        let arrive = |from| code(arrivals.arrive(&limits, from, now));
        assert_eq!([arrive(four(1)), arrive(four(1))], [None, None]);
        assert_eq!(arrive(four(1)), Some(RefusalCode::OverQuota), "two are no calls");
        assert_eq!(arrive(four(2)), None, "somebody else may");
        arrivals.become_call(four(1));
        assert_eq!(arrive(four(1)), None);
        arrivals.become_call(four(1));
        assert_eq!(arrive(four(1)), Some(RefusalCode::OverQuota), "there are three");
        arrivals.leave(four(1), true);
        assert_eq!(arrive(four(1)), None);
        arrivals.leave(four(1), false);
        assert_eq!(arrive(four(1)), None);
    }

    #[test]
    fn who_comes_too_often_is_turned_away_until_time_has_passed() {
        let (arrivals, limits, start) = (Arrivals::default(), limits(), Instant::now());
        let arrive = |seconds| {
            let arrived = code(arrivals.arrive(&limits, four(1), start + Duration::from_secs(seconds)));
            if arrived.is_none() {
                arrivals.leave(four(1), false);
            }
            arrived
        };
        assert_eq!((0..20).filter(|_| arrive(0).is_none()).count(), 10, "ten seconds' worth");
        assert_eq!(arrive(0), Some(RefusalCode::TooFast));
        assert_eq!([arrive(1), arrive(1)], [None, Some(RefusalCode::TooFast)]);
        assert_eq!((0..20).filter(|_| arrive(100).is_none()).count(), 10);
    }

    #[test]
    fn who_breaks_the_rules_may_come_less_often() {
        let limits = Limits { arrivals_of_an_address: 10, ..Limits::default() };
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        let come_and_break = || {
            let arrived = arrivals.arrive(&limits, four(1), now).is_ok();
            if arrived {
                arrivals.misbehave(four(1));
                arrivals.leave(four(1), true);
            }
            arrived
        };
        assert_eq!((0..100).filter(|_| come_and_break()).count(), 5, "and not a hundred");
        assert_eq!(code(arrivals.arrive(&limits, four(2), now)), None, "somebody else may");
    }

    #[test]
    fn who_has_an_address_of_version_6_has_many() {
        let of = |text: &str| Origin::from(text.parse::<IpAddr>().expect("it is an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:127.0.0.1"), four(1));
    }

    #[test]
    fn what_is_known_is_bounded_and_who_is_there_stays_known() {
        let (arrivals, limits, now) = (Arrivals::default(), limits(), Instant::now());
        assert_eq!(code(arrivals.arrive(&limits, four(1), now)), None);
        for number in 0..2 * MAX_ADDRESSES as u32 {
            let from = Origin::Four(Ipv4Addr::from_bits(number.wrapping_add(1 << 24)));
            assert_eq!(code(arrivals.arrive(&limits, from, now)), None);
            arrivals.leave(from, false);
        }
        let all = arrivals.lock();
        assert!(all.len() <= MAX_ADDRESSES && all.contains_key(&four(1)));
    }

    #[test]
    fn when_more_come_than_may_they_wait() {
        let (limits, start) = (limits(), Instant::now());
        let mut pace = Pace::new(&limits, start);
        assert_eq!((0..10).filter_map(|_| pace.on_arrival(start)).count(), 0);
        assert_eq!(pace.on_arrival(start), Some(PAUSE));
        assert_eq!(pace.on_arrival(start + Duration::from_millis(100)), None);
        assert_eq!(pace.on_arrival(start + Duration::from_millis(100)), Some(PAUSE));
    }
}
