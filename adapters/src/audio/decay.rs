//! What is played at a cut: from the last sample down to silence, instead of a click.

use rspp_specs::time::Micros;

/// How long a decay lasts at most.
pub const MAX_DECAY_MS: u64 = 10;

/// The decay behind `last`, the last sample that was *played*. It is the transport's own, and in no ledger.
///
/// ```
/// let decay: Vec<i16> = rspp_adapters::audio::decay(-1_000, 16_000).collect();
/// assert!(decay.len() < 160 && decay.is_sorted());
/// assert_eq!(rspp_adapters::audio::decay(0, 16_000).count(), 0);
/// ```
pub fn decay(last: i16, rate_hz: u32) -> impl Iterator<Item = i16> {
    let length = if last == 0 { 0 } else { Micros::from_ms(MAX_DECAY_MS).to_samples(rate_hz) as i64 };
    (1..length).map(move |step| (i64::from(last) * (length - step) / length) as i16)
}
