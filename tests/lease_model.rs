//! The lease protocol, explored: two workers that write one session are unreachable, with messages lost, late and twice, clocks
//! that drift, and processes that die and come back at any moment.
//!
//! The model has no rules of its own on leases: what the control plane and the workers do are the functions of
//! [`rspp::controlplane::lease`], and the gate at the session's ends is [`rspp::adapters::lease::LeaseGate`]. The model adds
//! who may do what when, which is anything. A worker's pause needs no action: a worker that does nothing for as long as it
//! likes is one of the runs.
//!
//! That the model can fail is tested, too: each rule taken away gives a counterexample.

use std::collections::BTreeSet;

use rspp::adapters::lease::LeaseGate;
use rspp::controlplane::lease::{self, Holding, Lease, Standing, Tenure, Terms};
use rspp::controlplane::time::Millis;
use rspp::specs::ids::LeaseEpoch;
use stateright::{Checker, HasDiscoveries, Model, Property};

const WORKERS: [&str; 2] = ["a", "b"];
/// In ticks of the model.
const TERMS: Terms = Terms { ttl_ms: 2, slack_ms: 1 };
/// Ticks that are explored.
const LAST_TICK: u64 = 4;
const MAX_EPOCH: u64 = 3;
const MAX_INCARNATION: u64 = 2;

/// What is left out of the rules, to see the model fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The ends of the session take what comes under any epoch.
    Gate,
    /// A holder that may be alive is no reason to wait.
    Waiting,
    /// A lease that was acted upon is renewed all the same.
    Burying,
}

#[derive(Clone, Copy)]
struct Protocol {
    without: Without,
    /// Messages that are under way at the same time.
    in_flight: usize,
    /// Whether processes die.
    processes_die: bool,
    /// Clocks run as they should, give or take what `slack_ms` allows.
    clocks_keep_to_slack: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    /// Worker, the time that it sent it.
    Begin(usize, u64),
    Renew(usize, u64, u64),
    Begun(usize, u64, u64),
    Renewed(usize, u64, u64),
    Over(usize, u64),
    /// The caller comes to a worker with a route: incarnation and epoch.
    Route(usize, u64, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    /// Its own clock, which differs from the world's.
    clock: u64,
    tenure: Option<Tenure>,
    /// Under which epoch it writes the session.
    writes: Option<u64>,
}

/// Of the control plane, what is in its store outlives it; since when it listens does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    plane_clock: u64,
    listening_since: u64,
    leases: [Option<Lease>; 2],
    holding: Option<Holding>,
    newest: u64,
    workers: [Worker; 2],
    in_flight: BTreeSet<Message>,
    /// What the session's ends let in.
    gate: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// Time passes; each worker's clock and the control plane's go so far.
    Tick([u64; 2], u64),
    Ask(usize),
    Deliver(Message),
    Lose(Message),
    Die(usize),
    /// It was away for as long as it did nothing.
    PlaneRestarts,
    Give(usize),
}

impl State {
    /// What the control plane takes for its present.
    fn plane_now(&self) -> (Millis, Millis) {
        (Millis(self.plane_clock), Millis(self.listening_since))
    }

    fn send(&mut self, message: Message) {
        self.in_flight.insert(message);
    }

    fn holder(&self) -> Option<usize> {
        let holding = self.holding.as_ref()?;
        WORKERS.iter().position(|name| *name == holding.worker)
    }

    /// Who can believe that it holds the session, by its own clock and what it was told.
    fn believers(&self) -> usize {
        let believes = |worker: &&Worker| {
            worker.writes.is_some() && worker.tenure.is_some_and(|it| it.holds(Millis(worker.clock), TERMS))
        };
        self.workers.iter().filter(believes).count()
    }

    /// Whose writes the session's ends take, if they come now: a worker writes whenever it likes, also after it has stood still
    /// for long.
    fn writers(&self, without: Without) -> usize {
        let taken = |worker: &&Worker| {
            let admits = |epoch| LeaseGate::new(LeaseEpoch(self.gate)).admit(LeaseEpoch(epoch)).is_ok();
            worker.writes.is_some_and(|epoch| without == Without::Gate || admits(epoch))
        };
        self.workers.iter().filter(taken).count()
    }
}

impl Protocol {
    /// The control plane gives the session to a worker, as its operation does: a holder that has lapsed is buried in the same
    /// transaction.
    fn give(&self, state: &mut State, to: usize) -> bool {
        let Some(target) = state.leases[to].filter(|lease| lease.standing == Standing::Live) else { return false };
        let (now, since) = state.plane_now();
        if lease::has_lapsed(&target, now, since, TERMS) {
            return false;
        }
        if let Some(holder) = state.holder() {
            let lapsed = state.leases[holder].is_none_or(|held| lease::has_lapsed(&held, now, since, TERMS));
            let lapsed = lapsed || self.without == Without::Waiting;
            if lapsed && let Some(held) = &mut state.leases[holder] {
                held.standing = Standing::Over;
            }
        }
        let held = state.holder().and_then(|holder| state.leases[holder]);
        let to_whom = (WORKERS[to], target.incarnation);
        let Ok(given) = lease::give(state.holding.as_ref(), held.as_ref(), to_whom, LeaseEpoch(state.newest)) else {
            return false;
        };
        state.newest = given.epoch.0;
        state.send(Message::Route(to, given.incarnation, given.epoch.0));
        state.holding = Some(given);
        true
    }

    fn arrive(&self, state: &mut State, message: &Message) {
        let (now, _) = state.plane_now();
        match *message {
            Message::Begin(who, at) => {
                let lease = lease::begin(state.leases[who].as_ref(), now, TERMS);
                state.leases[who] = Some(lease);
                state.send(Message::Begun(who, lease.incarnation, at));
            }
            Message::Renew(who, incarnation, at) => {
                let mut current = state.leases[who];
                if self.without == Without::Burying
                    && let Some(lease) = &mut current
                {
                    lease.standing = Standing::Live;
                }
                match lease::renew(current.as_ref(), incarnation, now, TERMS) {
                    Ok(lease) => {
                        state.leases[who] = Some(lease);
                        state.send(Message::Renewed(who, incarnation, at));
                    }
                    Err(_) => state.send(Message::Over(who, incarnation)),
                }
            }
            Message::Begun(who, incarnation, at) => {
                let worker = &mut state.workers[who];
                if worker.tenure.is_none_or(|tenure| tenure.incarnation < incarnation) {
                    worker.tenure = Some(Tenure::begin(incarnation, Millis(at)));
                    worker.writes = None;
                }
            }
            Message::Renewed(who, incarnation, at) => {
                if let Some(tenure) = state.workers[who].tenure.as_mut().filter(|it| it.incarnation == incarnation) {
                    tenure.on_renewed(Millis(at));
                }
            }
            Message::Over(who, incarnation) => {
                if let Some(tenure) = state.workers[who].tenure.as_mut().filter(|it| it.incarnation == incarnation) {
                    tenure.on_over();
                    state.workers[who].writes = None;
                }
            }
            Message::Route(who, incarnation, epoch) => self.take_over(state, who, incarnation, epoch),
        }
    }

    /// A worker is brought a session: it moves the gates before it begins, and where they are higher it does not.
    fn take_over(&self, state: &mut State, who: usize, incarnation: u64, epoch: u64) {
        let worker = &mut state.workers[who];
        let is_its_own = worker.tenure.is_some_and(|tenure| tenure.incarnation == incarnation && !tenure.is_over);
        if !is_its_own {
            return;
        }
        let mut gate = LeaseGate::new(LeaseEpoch(state.gate));
        gate.move_to(LeaseEpoch(epoch));
        if gate.epoch() == LeaseEpoch(epoch) || self.without == Without::Gate {
            worker.writes = Some(epoch);
        }
        state.gate = gate.epoch().0;
    }

    /// A process that came up anew knows nothing.
    fn die(state: &mut State, who: usize) {
        let clock = state.workers[who].clock;
        state.workers[who] = Worker { clock, tenure: None, writes: None };
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        // Both are there, and one has the session: how it came to that is the same as how it goes on.
        let worker = |writes| Worker { clock: 0, tenure: Some(Tenure::begin(1, Millis(0))), writes };
        let lease = Some(lease::begin(None, Millis(0), TERMS));
        let holding = Some(Holding { worker: WORKERS[0].to_owned(), incarnation: 1, epoch: LeaseEpoch(1) });
        vec![State {
            plane_clock: 0,
            listening_since: 0,
            leases: [lease, lease],
            holding,
            newest: 1,
            workers: [worker(Some(1)), worker(None)],
            in_flight: BTreeSet::new(),
            gate: 1,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Where clocks keep to the slack, the control plane's gains no more than that on a worker's.
        let steps: &[([u64; 2], u64)] = &[([1, 1], 1), ([0, 1], 1), ([1, 0], 1), ([1, 1], 2), ([1, 1], 0)];
        let keeps = |(workers, plane): &&([u64; 2], u64)| {
            let ahead =
                |worker: usize| (state.plane_clock + plane).checked_sub(state.workers[worker].clock + workers[worker]);
            let fits = |worker: usize| ahead(worker).is_some_and(|ahead| ahead <= TERMS.slack_ms);
            !self.clocks_keep_to_slack || (fits(0) && fits(1))
        };
        actions.extend(steps.iter().filter(keeps).map(|(workers, plane)| Action::Tick(*workers, *plane)));
        for message in &state.in_flight {
            actions.push(Action::Deliver(message.clone()));
            // One that is never delivered is lost, too; said it has to be where the network has room for no more.
            if state.in_flight.len() == self.in_flight {
                actions.push(Action::Lose(message.clone()));
            }
        }
        for who in 0..WORKERS.len() {
            actions.extend([Action::Ask(who), Action::Give(who)]);
        }
        if self.processes_die {
            actions.extend([Action::Die(0), Action::Die(1), Action::PlaneRestarts]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let changed = match action {
            Action::Tick(workers, plane) => {
                for (worker, step) in state.workers.iter_mut().zip(workers) {
                    worker.clock += step;
                }
                state.plane_clock += plane;
                true
            }
            Action::Ask(who) => {
                let worker = &state.workers[who];
                let at = worker.clock;
                match worker.tenure {
                    Some(tenure) if tenure.wants_renewal(Millis(at), TERMS) => {
                        state.send(Message::Renew(who, tenure.incarnation, at));
                    }
                    Some(tenure) if !tenure.is_over => {}
                    _ => state.send(Message::Begin(who, at)),
                }
                state != *last
            }
            Action::Deliver(message) => {
                // It may come a second time: only losing takes it out of the network.
                self.arrive(&mut state, &message);
                state != *last
            }
            Action::Lose(message) => state.in_flight.remove(&message),
            Action::Die(who) => {
                Self::die(&mut state, who);
                state != *last
            }
            Action::PlaneRestarts => {
                state.listening_since = state.plane_clock;
                state != *last
            }
            Action::Give(who) => self.give(&mut state, who),
        };
        if state.in_flight.len() > self.in_flight {
            // The network has room for no more: what was sent just now is lost.
            state.in_flight.clone_from(&last.in_flight);
        }
        changed.then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one writes", |model: &Protocol, state: &State| state.writers(model.without) <= 1),
            Property::always("one believes, where clocks keep to the slack", |model: &Protocol, state: &State| {
                !model.clocks_keep_to_slack || state.believers() <= 1
            }),
            Property::sometimes("a session moves and its new holder writes", |_, state: &State| {
                state.gate > 1 && state.workers.iter().any(|worker| worker.writes == Some(state.gate))
            }),
            Property::sometimes("a late one is refused", |_, state: &State| {
                state.workers.iter().any(|worker| worker.writes.is_some_and(|epoch| epoch < state.gate))
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        let incarnations = state.leases.iter().flatten().all(|lease| lease.incarnation <= MAX_INCARNATION);
        state.plane_clock <= LAST_TICK && state.newest <= MAX_EPOCH && incarnations
    }
}

/// States that are looked at, at most; the first are those with the fewest steps.
const MAX_STATES: usize = 1_000_000;

const ALL: Protocol =
    Protocol { without: Without::Nothing, in_flight: 1, processes_die: true, clocks_keep_to_slack: true };

fn explore(model: Protocol) -> Vec<&'static str> {
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_state_count(MAX_STATES).spawn_bfs().join();
    eprintln!(
        "without {:?}: {} states, {} of them different, {} steps deep, {}",
        model.without,
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        if checker.state_count() < MAX_STATES { "all that there are" } else { "and there are more" }
    );
    let mut found: Vec<&'static str> = checker.discoveries().into_keys().collect();
    found.sort_unstable();
    found
}

const FINE: [&str; 2] = ["a late one is refused", "a session moves and its new holder writes"];
const TWO_BELIEVE: &str = "one believes, where clocks keep to the slack";

#[test]
fn two_writers_of_one_session_are_unreachable() {
    assert_eq!(explore(ALL), FINE);
}

#[test]
fn two_writers_are_unreachable_also_where_messages_overtake_each_other() {
    assert_eq!(explore(Protocol { in_flight: 2, ..ALL }), FINE);
}

#[test]
fn two_writers_are_unreachable_also_where_clocks_keep_to_nothing() {
    assert_eq!(explore(Protocol { clocks_keep_to_slack: false, ..ALL }), FINE);
}

#[test]
fn without_the_gate_two_write() {
    let model = Protocol { without: Without::Gate, clocks_keep_to_slack: false, ..ALL };
    assert!(explore(model).contains(&"one writes"));
}

#[test]
fn without_waiting_two_believe() {
    assert!(explore(Protocol { without: Without::Waiting, ..ALL }).contains(&TWO_BELIEVE));
}

#[test]
fn without_burying_two_believe() {
    let model = Protocol { without: Without::Burying, in_flight: 2, processes_die: false, ..ALL };
    assert!(explore(model).contains(&TWO_BELIEVE));
}
