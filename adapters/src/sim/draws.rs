//! Chance, from the seed: a stream of its own for each session, call and concern.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rspp_specs::time::Micros;

/// What is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Concern {
    /// Who a session is.
    Character,
    /// What its caller does.
    Caller,
    /// What its application does: cancelling, for one.
    Application,
    /// Its recogniser.
    Recogniser,
    /// Its model.
    Model,
    /// Its synthesiser.
    Synthesiser,
    /// Its tools.
    Tools,
    /// The network between it and the caller.
    Network,
    /// Whether its lease is taken away.
    Authority,
    /// What else uses the worker.
    Pressure,
    /// How its lease moves on.
    Leases,
    /// When its worker is lost; drawn for a worker, not for a session.
    Worker,
    /// What a lost worker had done of its last tick.
    Loss,
    /// What the clock on the wall does.
    Wall,
    /// How the worker's log fares.
    Recorder,
    /// When its application has the agent speak unasked.
    Prompts,
}

/// Whose draws they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) seed: u64,
    pub(super) session: u32,
    pub(super) call: u32,
}

/// One stream. Each draw takes one number of the generator's, whatever it is made into, and the generator's numbers
/// are the same on every machine and in every version of its crate.
#[derive(Clone, Debug)]
pub(super) struct Draws(Pcg64Mcg);

impl Draws {
    pub(super) fn new(origin: Origin, concern: Concern) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&origin.seed.to_le_bytes());
        hasher.update(&origin.session.to_le_bytes());
        hasher.update(&origin.call.to_le_bytes());
        hasher.update(&[concern as u8]);
        let mut seed = [0; 16];
        hasher.finalize_xof().fill(&mut seed);
        Self(Pcg64Mcg::from_seed(seed))
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A stretch of time.
    pub(super) fn ms(&mut self, least: u64, most: u64) -> Micros {
        Micros(self.between(least * 1_000, most * 1_000))
    }

    /// Whether something happens that does in so many cases of a thousand.
    pub(super) fn chance(&mut self, of_a_thousand: u64) -> bool {
        self.below(1_000) < of_a_thousand
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// One of several, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, from: &[(u32, T)]) -> T {
        let sum = from.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut left = self.below(sum);
        for (weight, of) in from {
            match left.checked_sub(u64::from(*weight)) {
                Some(less) => left = less,
                None => return *of,
            }
        }
        unreachable!("what is drawn is below the sum of the weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_stay_what_they_are() {
        let first = |session, call, concern| Draws::new(Origin { seed: 1, session, call }, concern).below(1 << 32);
        let all = [
            first(0, 0, Concern::Caller),
            first(1, 0, Concern::Caller),
            first(0, 1, Concern::Caller),
            first(0, 0, Concern::Model),
        ];
        // Seeds that were kept mean the same calls tomorrow.
        assert_eq!(all, [4_056_177_180, 2_412_400_161, 4_135_400_356, 2_518_810_054]);
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut draws = Draws::new(Origin { seed: 7, session: 0, call: 0 }, Concern::Network);
        let mut seen = [0; 3];
        for _ in 0..3_000 {
            assert!((10..=12).contains(&draws.between(10, 12)));
            seen[draws.weighted(&[(1, 0), (0, 1), (9, 2)])] += 1;
        }
        assert!(seen[0] > 200 && seen[0] < 400 && seen[1] == 0, "{seen:?}");
        assert!(!draws.chance(0) && draws.chance(1_000));
    }
}
