//! What comes out of order, in bursts or not at all, in order again (`F-087`).
//!
//! Behind it is a core and no loudspeaker, so it does not hold everything back for the sake of what might be late:
//! what is next leaves at once, and only a gap waits, for as long as packets have lately been late. What does not come
//! by then is lost, and its time is given out as lost, for a codec or a [`Concealer`](super::Concealer) to fill. There
//! is no clock in it: times are handed in. So it is tested in virtual time.
//!
//! The crate neteq was looked at for this place: it reads a clock of its own when packets come, so no test of it is the
//! same twice, and it stretches and shrinks time for a listener, which a recogniser does not want.

use std::collections::BTreeMap;

use rspp_specs::time::Micros;

/// Packets that wait at most; more than two seconds of 20 ms.
const MAX_WAITING_PACKETS: usize = 128;
/// A timestamp further away than this is another stream and no gap.
const MAX_JUMP: Micros = Micros::from_ms(10_000);
/// No call comes to a place further on, and no packet is longer: 265 days at 48 kHz, and 20 s.
const MAX_PLACE: u64 = 1 << 40;
const MAX_PACKET_SAMPLES: u64 = 1 << 20;
/// Time that is given out as lost in one piece.
const LOST_STEP: Micros = Micros::from_ms(20);
/// A peak of lateness is forgotten by this share with each packet.
const FORGETTING: u64 = 128;

/// How patient a transport's buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterProfile {
    /// A gap waits so long at least.
    pub min_wait: Micros,
    /// A gap waits so long at most, and no more audio than this waits behind it.
    pub max_wait: Micros,
    /// With nothing there at all, time is lost from so long after it was due; `None` for a transport that loses
    /// nothing, whose audio is only late.
    pub starves_after: Option<Micros>,
}

impl JitterProfile {
    /// Over TCP: nothing is lost; a provider may send things in another order, and pauses are waited for.
    pub const RELIABLE: Self =
        Self { min_wait: Micros::from_ms(60), max_wait: Micros::from_ms(400), starves_after: None };
    /// Over UDP: what is lost does not come.
    pub const LOSSY: Self = Self {
        min_wait: Micros::from_ms(20),
        max_wait: Micros::from_ms(200),
        starves_after: Some(Micros::from_ms(100)),
    };
}

/// What became of a packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It leaves in its turn.
    Taken,
    /// Its time has been given out already, or is none that a call comes to.
    Late,
    /// It, or part of it, is there already.
    Double,
    /// It begins another stream; what waited is gone.
    Restarted,
    /// There is no room.
    Full,
}

/// What leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<P> {
    /// A packet.
    Packet(P),
    /// So many samples do not come.
    Lost {
        /// How many.
        samples: u64,
    },
}

/// What a buffer has seen, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Packets that left.
    pub packets: u64,
    /// Packets that came when their time had been given out.
    pub late: u64,
    /// Packets that came twice, or over one another.
    pub double: u64,
    /// Packets for which there was no room.
    pub full: u64,
    /// Samples that were given out as lost.
    pub lost_samples: u64,
    /// Times at which the stream began again.
    pub restarts: u64,
}

/// The buffer of one stream, of packets of any kind.
#[derive(Debug)]
pub struct Jitter<P> {
    profile: JitterProfile,
    rate_hz: u32,
    /// The place of the next sample to leave; `None` before the first packet.
    head: Option<u64>,
    waiting: BTreeMap<u64, (u64, P)>,
    /// Since when the next sample is missing while later ones wait.
    gap_since: Option<Micros>,
    /// Where the sender is known to have paused: nothing of it will come.
    pause: std::ops::Range<u64>,
    pace: Pace,
    counts: JitterCounts,
}

impl<P> Jitter<P> {
    /// For a stream with this many samples a second.
    pub fn new(profile: JitterProfile, rate_hz: u32) -> Self {
        Self {
            profile,
            rate_hz: rate_hz.max(1),
            head: None,
            waiting: BTreeMap::new(),
            gap_since: None,
            pause: 0..0,
            pace: Pace::default(),
            counts: JitterCounts::default(),
        }
    }

    /// A packet came: its first sample is `at` in the stream, and it has so many.
    pub fn insert(&mut self, now: Micros, at: u64, samples: u64, packet: P) -> Arrival {
        let arrival = self.judge(at, samples);
        match arrival {
            Arrival::Late => self.counts.late += 1,
            Arrival::Double => self.counts.double += 1,
            Arrival::Full => self.counts.full += 1,
            Arrival::Restarted => self.restart(at),
            Arrival::Taken => {}
        }
        // What is late tells most of how late packets are.
        if at <= MAX_PLACE {
            self.pace.on_packet(now, self.media_time(at), arrival == Arrival::Restarted);
        }
        if matches!(arrival, Arrival::Taken | Arrival::Restarted) {
            self.waiting.insert(at, (samples, packet));
            self.watch_gap(now);
        }
        arrival
    }

    /// What is next, if it is there or lost by now. Call it until it gives nothing.
    pub fn pull(&mut self, now: Micros) -> Option<Next<P>> {
        let head = self.head?;
        match self.waiting.first_key_value().map(|(at, _)| *at) {
            Some(at) if at == head => {
                let (_, (samples, packet)) = self.waiting.pop_first()?;
                self.head = Some(head + samples);
                self.counts.packets += 1;
                self.gap_since = None;
                self.watch_gap(now);
                Some(Next::Packet(packet))
            }
            Some(at) => self.gap_is_lost(now).then(|| self.lose(at - head, now)),
            None => self.is_starved(now).then(|| self.lose(u64::MAX, now)),
        }
    }

    /// The sender paused from one sample to another: what is behind that does not wait for it. To be said before the packet
    /// behind it is put in.
    pub fn pause(&mut self, from: u64, to: u64) {
        self.pause = from..to;
    }

    /// The packet that is next, if it is there: what was lost before it may be told by it.
    pub fn peek(&self) -> Option<&P> {
        let (at, (_, packet)) = self.waiting.first_key_value()?;
        (Some(*at) == self.head).then_some(packet)
    }

    /// When [`Jitter::pull`] may have something though nothing came.
    pub fn next_at(&self) -> Option<Micros> {
        match self.gap_since {
            Some(since) => Some(since + self.patience()),
            None => self.head.and_then(|head| self.starves_at(head)),
        }
    }

    /// What it has seen.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    fn judge(&self, at: u64, samples: u64) -> Arrival {
        let jump = MAX_JUMP.to_samples(self.rate_hz);
        if at > MAX_PLACE || samples > MAX_PACKET_SAMPLES || samples == 0 {
            return Arrival::Late;
        }
        let Some(head) = self.head else { return Arrival::Restarted };
        let end = at + samples;
        if at.abs_diff(head) > jump {
            return Arrival::Restarted;
        }
        if at < head {
            return Arrival::Late;
        }
        let before = self.waiting.range(..=at).next_back().is_some_and(|(first, (length, _))| first + length > at);
        if before || self.waiting.range(at..end).next().is_some() {
            return Arrival::Double;
        }
        if self.waiting.len() == MAX_WAITING_PACKETS { Arrival::Full } else { Arrival::Taken }
    }

    fn restart(&mut self, at: u64) {
        self.counts.restarts += u64::from(self.head.is_some());
        self.head = Some(at);
        self.waiting.clear();
        self.gap_since = None;
    }

    fn watch_gap(&mut self, now: Micros) {
        let missing = self.waiting.first_key_value().is_some_and(|(at, _)| Some(*at) != self.head);
        if missing {
            self.gap_since = self.gap_since.or(Some(now));
        }
    }

    /// How long a gap is waited for: as long as packets have lately been late, within the profile.
    fn patience(&self) -> Micros {
        self.pace.lateness().clamp(self.profile.min_wait, self.profile.max_wait)
    }

    fn gap_is_lost(&self, now: Micros) -> bool {
        if self.head.is_some_and(|head| self.pause.contains(&head)) {
            return true;
        }
        let span = self.waiting.last_key_value().zip(self.head).map_or(0, |((at, _), head)| at - head);
        let waited = self.gap_since.is_some_and(|since| now >= since + self.patience());
        waited || span > self.profile.max_wait.to_samples(self.rate_hz) || self.waiting.len() == MAX_WAITING_PACKETS
    }

    fn is_starved(&self, now: Micros) -> bool {
        self.head.and_then(|head| self.starves_at(head)).is_some_and(|at| now >= at)
    }

    fn starves_at(&self, head: u64) -> Option<Micros> {
        Some(self.pace.due(self.media_time(head))? + self.profile.starves_after?)
    }

    fn lose(&mut self, missing: u64, now: Micros) -> Next<P> {
        let samples = missing.min(LOST_STEP.to_samples(self.rate_hz).max(1));
        self.head = self.head.map(|head| head + samples);
        self.counts.lost_samples += samples;
        // The rest of a gap that is lost is lost too, and need not be waited for again.
        if samples == missing {
            self.gap_since = None;
            self.watch_gap(now);
        }
        Next::Lost { samples }
    }

    fn media_time(&self, at: u64) -> Micros {
        Micros::of_samples(at, self.rate_hz)
    }
}

/// When packets are due, and how late they are: the earliest that packets have come for their media time, which is
/// slowly forgotten, so that a sender's clock may run slower than ours.
#[derive(Debug, Default)]
struct Pace {
    /// A packet of media time 0 would have come then, in microseconds; may be before the beginning.
    origin_us: Option<i64>,
    peak_us: u64,
}

impl Pace {
    fn on_packet(&mut self, now: Micros, media: Micros, anew: bool) {
        let came_us = now.0 as i64 - media.0 as i64;
        let origin_us = match self.origin_us {
            Some(origin_us) if !anew && came_us > origin_us => origin_us + (came_us - origin_us) / 256,
            _ => came_us,
        };
        self.origin_us = Some(origin_us);
        let late_us = came_us.saturating_sub(origin_us).max(0) as u64;
        self.peak_us = late_us.max(self.peak_us - self.peak_us / FORGETTING);
    }

    fn due(&self, media: Micros) -> Option<Micros> {
        let at_us = self.origin_us?.saturating_add(media.0 as i64).max(0);
        Some(Micros(at_us as u64))
    }

    fn lateness(&self) -> Micros {
        Micros(self.peak_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE_HZ: u32 = 8_000;

    /// Each word is a packet of 20 ms by its number, or `+N`, which lets N ms pass; what leaves is written in the same
    /// way, lost time as `-`.
    fn check(profile: JitterProfile, comes: &str, expected: &str) {
        let mut buffer = Jitter::new(profile, RATE_HZ);
        let (mut now, mut left) = (Micros(0), Vec::new());
        for word in comes.split_whitespace() {
            if let Some(ms) = word.strip_prefix('+') {
                now = now + Micros::from_ms(ms.parse().expect("milliseconds"));
            } else {
                let number: u64 = word.parse().expect("a packet's number");
                buffer.insert(now, number * 160, 160, number);
            }
            while let Some(next) = buffer.pull(now) {
                left.push(match next {
                    Next::Packet(number) => number.to_string(),
                    Next::Lost { samples } => "-".repeat(samples as usize / 160),
                });
            }
        }
        assert_eq!(left.join(" "), expected, "{comes}");
    }

    #[test]
    fn what_is_next_leaves_at_once_and_only_a_gap_waits() {
        use JitterProfile as P;
        check(P::RELIABLE, "0 1 2", "0 1 2");
        check(P::RELIABLE, "0 2 1 3", "0 1 2 3");
        check(P::RELIABLE, "0 3 2 +59 1", "0 1 2 3");
        check(P::RELIABLE, "0 3 2 +60 1", "0 - 2 3");
        check(P::RELIABLE, "0 1 1 0 2", "0 1 2");
        // Over TCP a pause is a pause; over UDP its time is lost.
        check(P::RELIABLE, "0 +900 1", "0 1");
        check(P::LOSSY, "0 +119 +1 +20 3", "0 - - 3");
        check(P::LOSSY, "0 +20 2 +20 3 +1", "0 - 2 3");
    }

    #[test]
    fn another_stream_begins_again() {
        check(JitterProfile::RELIABLE, "0 1 9000 9001 3 4", "0 1 9000 9001 3 4");
        let mut buffer = Jitter::new(JitterProfile::RELIABLE, RATE_HZ);
        buffer.insert(Micros(0), 0, 160, 0);
        assert_eq!(buffer.insert(Micros(0), 1 << 40, 160, 1), Arrival::Restarted);
        assert_eq!(buffer.counts().restarts, 1);
        assert_eq!(buffer.insert(Micros(0), u64::MAX, u64::MAX, 2), Arrival::Late);
    }

    #[test]
    fn patience_grows_with_what_comes_late_and_shrinks_again() {
        let mut buffer = Jitter::new(JitterProfile::LOSSY, RATE_HZ);
        for number in 0..50_u64 {
            let late = if number % 5 == 4 { 120 } else { 0 };
            buffer.insert(Micros::from_ms(number * 20 + late), number * 160, 160, number);
            while buffer.pull(Micros::from_ms(number * 20 + late)).is_some() {}
        }
        let patient = buffer.patience();
        assert!(patient > Micros::from_ms(90) && patient <= Micros::from_ms(200), "{patient:?}");
        for number in 50..600_u64 {
            buffer.insert(Micros::from_ms(number * 20), number * 160, 160, number);
            while buffer.pull(Micros::from_ms(number * 20)).is_some() {}
        }
        assert!(buffer.patience() < Micros::from_ms(30), "{:?}", buffer.patience());
    }

    #[test]
    fn a_sender_with_a_slow_clock_is_not_starved() {
        let mut buffer = Jitter::new(JitterProfile::LOSSY, RATE_HZ);
        // 200 parts in a million slower than ours, for twenty minutes.
        for number in 0..60_000_u64 {
            let now = Micros(number * 20_004);
            buffer.insert(now, number * 160, 160, ());
            while buffer.pull(now).is_some() {}
        }
        assert_eq!(buffer.counts(), JitterCounts { packets: 60_000, ..JitterCounts::default() });
    }

    proptest! {
        #[test]
        fn order_is_kept_time_is_whole_and_memory_is_bounded(
            packets in prop::collection::vec((0..400_u64, 1..500_u64, 0..40_u64), 1..400),
            lossy in any::<bool>(),
        ) {
            let profile = if lossy { JitterProfile::LOSSY } else { JitterProfile::RELIABLE };
            let mut buffer = Jitter::new(profile, RATE_HZ);
            let (mut now, mut place) = (Micros(0), None);
            for (at, samples, after_ms) in packets {
                now = now + Micros::from_ms(after_ms);
                let restarts = buffer.counts().restarts;
                buffer.insert(now, at * 97, samples, (at * 97, samples));
                prop_assert!(buffer.waiting.len() <= MAX_WAITING_PACKETS);
                if place.is_none() || buffer.counts().restarts > restarts {
                    place = Some(at * 97);
                }
                while let Some(next) = buffer.pull(now) {
                    let samples = match next {
                        Next::Packet((first, samples)) => {
                            prop_assert_eq!(Some(first), place);
                            samples
                        }
                        Next::Lost { samples } => samples,
                    };
                    place = place.map(|place| place + samples);
                }
                prop_assert!(buffer.next_at().is_none_or(|at| at > now));
            }
        }

        #[test]
        fn any_stamp_is_judged(stamps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 1..50)) {
            let mut buffer = Jitter::new(JitterProfile::LOSSY, RATE_HZ);
            for (at, samples, now) in stamps {
                buffer.insert(Micros(u64::from(now)), at >> 22, samples >> 42, ());
                (0..10_000).take_while(|_| buffer.pull(Micros(u64::from(now))).is_some()).count();
            }
        }
    }
}
