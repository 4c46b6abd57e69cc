//! The clocks beside the session's own, and where they stand (`NF-018`).
//!
//! Session time is monotonic and the only one that anything is decided by. The clock on the wall comes in as readings. The
//! caller's audio is a clock, too: it runs by the crystal of a device elsewhere, begins when the caller does, and stands still
//! where nothing comes. What was said at a media time was said at that of the session which the mapping gives.
//!
//! A mapping holds until the clock is seen elsewhere by more than a bound; then it is rebased, and that is said. Audio comes
//! late, by as much as networks and queues take; so of each stretch of it the frame that came the soonest counts.

use rspp_specs::time::{Clock, Micros, Skew, WallReading};
use rspp_specs::timeline::Signal;

use crate::session::{Desk, Session};

/// The clock on the wall may differ by so much.
const WALL_BOUND_US: i64 = 20_000;
/// The caller's audio may differ by so much: three frames.
const MEDIA_BOUND_US: i64 = 60_000;
/// So many frames are a stretch: two seconds of the usual ones.
const STRETCH_FRAMES: u32 = 100;
/// Behind a silence of so long the caller's clock begins anew.
const GAP: Micros = Micros::from_ms(1_000);

/// Where the other clocks stand.
#[derive(Debug, Default)]
pub(crate) struct Timebase {
    /// Time on the wall, less session time.
    wall: Option<i64>,
    /// The caller's audio, all that came.
    media: Micros,
    /// Session time, less media time.
    offset: Option<i64>,
    /// The least that it was in this stretch.
    least: i64,
    frames: u32,
    last_at: Micros,
}

impl Timebase {
    /// A frame of the caller's has come; gives by how much their clock differs, if that is too much.
    #[inline]
    fn on_frame(&mut self, now: Micros, duration: Micros) -> Option<Skew> {
        self.media = self.media + duration;
        let behind = now.0 as i64 - self.media.0 as i64;
        let after = now.since(std::mem::replace(&mut self.last_at, now));
        let Some(offset) = self.offset else {
            (self.offset, self.least, self.frames) = (Some(behind), behind, 1);
            return None;
        };
        let begins_anew = after > GAP;
        if self.frames == 0 || begins_anew || behind < self.least {
            self.least = behind;
        }
        self.frames += 1;
        if !begins_anew && self.frames < STRETCH_FRAMES {
            return None;
        }
        self.frames = 0;
        // A clock that is ahead makes its audio come sooner.
        let skew = offset - self.least;
        (skew.abs() > MEDIA_BOUND_US).then(|| {
            self.offset = Some(self.least);
            Skew(skew)
        })
    }

    /// The clock on the wall was read; gives by how much it differs, if that is too much.
    fn on_wall(&mut self, reading: WallReading) -> Option<Skew> {
        let stands = reading.unix_us as i64 - reading.at.0 as i64;
        let known = *self.wall.get_or_insert(stands);
        (stands.abs_diff(known) > WALL_BOUND_US as u64).then(|| {
            self.wall = Some(stands);
            Skew(stands - known)
        })
    }

    /// When, in session time, the caller's audio was at this place; at the latest `now`.
    pub(crate) fn session_time(&self, media: Micros, now: Micros) -> Micros {
        let at = media.0 as i64 + self.offset.unwrap_or(0);
        Micros(at.max(0) as u64).min(now)
    }
}

impl Session {
    /// A frame of the caller's has come.
    #[inline]
    pub(crate) fn keep_media_time(&mut self, desk: &mut Desk<'_>, duration: Micros) {
        if let Some(skew) = self.timebase.on_frame(desk.now, duration) {
            self.say(desk, Signal::ClockRebased { clock: Clock::Media, skew });
        }
    }

    /// The clock on the wall was read.
    pub(crate) fn on_wall_clock(&mut self, desk: &mut Desk<'_>, reading: WallReading) {
        if let Some(skew) = self.timebase.on_wall(reading) {
            self.say(desk, Signal::ClockRebased { clock: Clock::Wall, skew });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Micros = Micros::from_ms(20);

    /// Frames that come at these times, in milliseconds; by how much the clock differed, and when that was noticed.
    fn rebased(timebase: &mut Timebase, times: impl IntoIterator<Item = u64>) -> Vec<(u64, i64)> {
        let frame = |ms| Some((ms, timebase.on_frame(Micros::from_ms(ms), FRAME)?.0 / 1_000));
        times.into_iter().filter_map(frame).collect()
    }

    #[test]
    fn who_begins_late_and_trembles_is_where_it_was_the_soonest() {
        let mut timebase = Timebase::default();
        let late = |frame: u64| 300 + frame * 20 + if frame % 7 == 3 { 0 } else { 45 };
        assert_eq!(rebased(&mut timebase, (1..=100).map(late)), []);
        assert_eq!(timebase.offset, Some(345_000), "the first frame came late");
        assert_eq!(rebased(&mut timebase, (101..=400).map(late)), [], "by less than the bound");
        let now = Micros::from_ms(9_000);
        assert_eq!(timebase.session_time(Micros::from_ms(1_000), now), Micros::from_ms(1_345));
        assert_eq!(timebase.session_time(Micros::from_ms(8_900), now), now, "nothing is heard before it is said");
    }

    #[test]
    fn frames_that_are_lost_and_a_silence_move_the_clock() {
        let mut timebase = Timebase::default();
        rebased(&mut timebase, (1..=100).map(|frame| frame * 20));
        // Ten frames are lost: the audio is 200 ms behind from here on.
        let lost = rebased(&mut timebase, (111..=320).map(|frame| frame * 20));
        assert_eq!(lost, [(4_200, -200)]);
        let silence = rebased(&mut timebase, [16_400, 16_420]);
        assert_eq!(silence, [(16_400, -9_980)], "at once");
        assert_eq!(timebase.session_time(Micros::from_ms(6_220), Micros::from_ms(20_000)).as_ms(), 16_400);
    }

    #[test]
    fn a_clock_on_the_wall_that_is_set_is_noticed_and_one_that_creeps_is_followed() {
        let mut timebase = Timebase::default();
        let mut read = |unix_ms: u64, at_ms: u64| {
            let reading = WallReading { unix_us: unix_ms * 1_000, at: Micros::from_ms(at_ms) };
            timebase.on_wall(reading).map(|skew| skew.0 / 1_000)
        };
        assert_eq!(read(1_000_000, 0), None);
        assert_eq!(read(1_000_510, 500), None, "within the bound");
        assert_eq!(read(1_001_021, 1_000), Some(21));
        assert_eq!(read(1_001_521, 1_500), None);
        assert_eq!(read(998_021, 2_000), Some(-4_000), "set back");
    }
}
