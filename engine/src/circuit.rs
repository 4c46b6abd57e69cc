//! Circuit breakers: a provider that fails again and again is left alone for a while, then tried with one call, and
//! comes back when that one goes well (`F-163`).
//!
//! A breaker is the session's own, so that a session replays alone; what other sessions have found out enters as
//! [`Input::ProviderHealth`](rspp_specs::timeline::Input::ProviderHealth).

use std::collections::BTreeMap;
use std::sync::Arc;

use rspp_specs::budget::CircuitState;
use rspp_specs::limits::MAX_CIRCUITS;
use rspp_specs::time::Micros;

/// So many failures in a row open a circuit.
const FAILURES: u32 = 3;
/// How long a circuit stays open at first. Each failed try doubles it.
const FIRST_COOLDOWN: Micros = Micros::from_ms(5_000);
/// The longest that a circuit stays open.
const MAX_COOLDOWN: Micros = Micros::from_ms(80_000);

/// The breakers of a session, by the provider's binding.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    circuits: BTreeMap<Arc<str>, Circuit>,
}

#[derive(Clone, Debug)]
struct Circuit {
    state: CircuitState,
    /// Failures in a row.
    failures: u32,
    cooldown: Micros,
    open_until: Micros,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { state: CircuitState::Closed, failures: 0, cooldown: FIRST_COOLDOWN, open_until: Micros(0) }
    }
}

impl Circuits {
    /// Whether a call may go to this provider now.
    pub(crate) fn admits(&self, binding: &str, now: Micros) -> bool {
        self.circuits.get(binding).is_none_or(|circuit| match circuit.state {
            CircuitState::Closed => true,
            CircuitState::Open => now >= circuit.open_until,
            CircuitState::HalfOpen => false,
        })
    }

    /// A call goes to this provider. Gives the state, if this changes it.
    pub(crate) fn on_call(&mut self, binding: &str, now: Micros) -> Option<CircuitState> {
        let circuit = self.circuits.get_mut(binding)?;
        let probes = circuit.state == CircuitState::Open && now >= circuit.open_until;
        probes.then(|| circuit.turn(CircuitState::HalfOpen))
    }

    /// A call went well. Gives the state, if this changes it.
    pub(crate) fn on_success(&mut self, binding: &str) -> Option<CircuitState> {
        let circuit = self.circuits.get_mut(binding)?;
        circuit.failures = 0;
        circuit.cooldown = FIRST_COOLDOWN;
        (circuit.state != CircuitState::Closed).then(|| circuit.turn(CircuitState::Closed))
    }

    /// A call failed, and the provider is to blame. Gives the state, if this changes it. While one call probes the provider,
    /// one that began before tells nothing new.
    pub(crate) fn on_fault(&mut self, binding: &Arc<str>, probes: bool, now: Micros) -> Option<CircuitState> {
        let circuit = self.of(binding)?;
        circuit.failures += 1;
        match circuit.state {
            CircuitState::Closed if circuit.failures < FAILURES => None,
            CircuitState::Open => None,
            CircuitState::HalfOpen if !probes => None,
            CircuitState::Closed => Some(circuit.open(now)),
            CircuitState::HalfOpen => {
                circuit.cooldown = Micros((circuit.cooldown.0 * 2).min(MAX_COOLDOWN.0));
                Some(circuit.open(now))
            }
        }
    }

    /// A call ended for reasons that tell nothing of the provider: if it was the one that probes it, another one may.
    pub(crate) fn on_abandoned(&mut self, binding: &str, probes: bool, now: Micros) -> Option<CircuitState> {
        let circuit = self.circuits.get_mut(binding)?;
        (circuit.state == CircuitState::HalfOpen && probes).then(|| {
            circuit.open_until = now;
            circuit.turn(CircuitState::Open)
        })
    }

    /// What others have found out. Gives the state, if this changes it.
    pub(crate) fn on_health(&mut self, binding: &Arc<str>, healthy: bool, now: Micros) -> Option<CircuitState> {
        if healthy {
            return self.on_success(binding);
        }
        let circuit = self.of(binding)?;
        (circuit.state == CircuitState::Closed).then(|| circuit.open(now))
    }

    /// The breaker of a provider. Plans name few providers; what would be one too many is never broken.
    fn of(&mut self, binding: &Arc<str>) -> Option<&mut Circuit> {
        if !self.circuits.contains_key(binding) && self.circuits.len() == MAX_CIRCUITS {
            return None;
        }
        Some(self.circuits.entry(Arc::clone(binding)).or_default())
    }
}

impl Circuit {
    fn open(&mut self, now: Micros) -> CircuitState {
        self.open_until = now + self.cooldown;
        self.turn(CircuitState::Open)
    }

    fn turn(&mut self, state: CircuitState) -> CircuitState {
        self.state = state;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps are `call`, `ok`, `fault`, `left`, `sick`, `well`, each at a time in milliseconds, and `old fault` and `old left` of
    /// a call that began before the one that probes; shown is what changed.
    fn check(steps: &[(&str, u64)], expect: &[&str]) {
        let mut circuits = Circuits::default();
        let binding: Arc<str> = "a".into();
        let mut shown = Vec::new();
        for (step, ms) in steps {
            let now = Micros::from_ms(*ms);
            let changed = match *step {
                "call" if !circuits.admits(&binding, now) => {
                    shown.push(format!("{ms} elsewhere"));
                    continue;
                }
                "call" => circuits.on_call(&binding, now),
                "ok" => circuits.on_success(&binding),
                "fault" => circuits.on_fault(&binding, true, now),
                "old fault" => circuits.on_fault(&binding, false, now),
                "left" => circuits.on_abandoned(&binding, true, now),
                "old left" => circuits.on_abandoned(&binding, false, now),
                "sick" => circuits.on_health(&binding, false, now),
                _ => circuits.on_health(&binding, true, now),
            };
            shown.extend(changed.map(|state| format!("{ms} {state:?}")));
        }
        assert_eq!(shown, expect, "{steps:?}");
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_one_good_call_closes_it_again() {
        check(&[("fault", 0), ("fault", 1), ("ok", 2), ("fault", 3), ("fault", 4)], &[]);
        check(
            &[("fault", 0), ("fault", 1), ("fault", 2), ("call", 3), ("call", 5_002), ("call", 5_003), ("ok", 5_004)],
            &["2 Open", "3 elsewhere", "5002 HalfOpen", "5003 elsewhere", "5004 Closed"],
        );
    }

    #[test]
    fn a_failed_try_doubles_the_wait_and_an_abandoned_one_lets_another_try() {
        let opened = [("fault", 0), ("fault", 0), ("fault", 0), ("call", 5_000)];
        check(
            &[&opened[..], &[("fault", 5_100), ("call", 15_099), ("call", 15_100)]].concat(),
            &["0 Open", "5000 HalfOpen", "5100 Open", "15099 elsewhere", "15100 HalfOpen"],
        );
        check(
            &[&opened[..], &[("left", 5_100), ("call", 5_100)]].concat(),
            &["0 Open", "5000 HalfOpen", "5100 Open", "5100 HalfOpen"],
        );
    }

    #[test]
    fn one_call_probes_and_those_that_began_before_it_decide_nothing() {
        let opened = [("fault", 0), ("fault", 0), ("fault", 0), ("call", 5_000)];
        for old in ["old fault", "old left"] {
            check(
                &[&opened[..], &[(old, 5_100), ("call", 5_200), ("fault", 5_300)]].concat(),
                &["0 Open", "5000 HalfOpen", "5200 elsewhere", "5300 Open"],
            );
        }
    }

    #[test]
    fn a_cooldown_doubles_up_to_its_bound_and_is_short_again_after_a_good_call() {
        let mut circuits = Circuits::default();
        let binding: Arc<str> = "a".into();
        let (mut now, mut cooldowns) = (0, Vec::new());
        for _ in 0..FAILURES {
            circuits.on_fault(&binding, false, Micros(now));
        }
        for _ in 0..7 {
            let began = now;
            while !circuits.admits(&binding, Micros(now)) {
                now += 1_000_000;
            }
            cooldowns.push((now - began) / 1_000_000);
            assert_eq!(circuits.on_call(&binding, Micros(now)), Some(CircuitState::HalfOpen));
            assert_eq!(circuits.on_fault(&binding, true, Micros(now)), Some(CircuitState::Open));
        }
        assert_eq!(cooldowns, [5, 10, 20, 40, 80, 80, 80]);
        circuits.on_success(&binding);
        for _ in 0..FAILURES {
            circuits.on_fault(&binding, false, Micros(now));
        }
        assert!(!circuits.admits(&binding, Micros(now + FIRST_COOLDOWN.0 - 1)));
        assert!(circuits.admits(&binding, Micros(now + FIRST_COOLDOWN.0)));
    }

    #[test]
    fn what_others_found_out_counts_at_once() {
        check(&[("sick", 0), ("call", 1), ("well", 2), ("call", 3)], &["0 Open", "1 elsewhere", "2 Closed"]);
    }
}
