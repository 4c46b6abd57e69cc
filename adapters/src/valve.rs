//! Between a provider's thread and the call: closed while nobody has room for what the provider gives.
//!
//! Whoever waits here does not read: an HTTP body, or an engine's pipe, fills up, and its sender waits in turn.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rspp_specs::event::ProviderResult;
use rspp_specs::timeline::Effect;
use tokio_util::sync::CancellationToken;

/// One invocation's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Valve(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    paused: bool,
    /// So many more results may pass; `None` for as many as come.
    credit: Option<u32>,
}

/// How often who waits looks whether the invocation is cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Valve {
    /// Carries out what an effect says of reading.
    pub(crate) fn set(&self, effect: &Effect) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match effect {
            Effect::PauseInvocation { .. } => state.paused = true,
            Effect::ResumeInvocation { .. } => state.paused = false,
            Effect::GrantCredit { results, .. } => {
                state.credit = Some(state.credit.unwrap_or(0).saturating_add(*results));
            }
            _ => {}
        }
        changed.notify_all();
    }

    /// Waits until this may pass, or nobody waits for the invocation any more. How long that may take is the edge's bound.
    pub(crate) fn wait(&self, result: &ProviderResult, cancelled: &CancellationToken) {
        let (state, changed) = &*self.0;
        let uses = matches!(result, ProviderResult::Text(_) | ProviderResult::Audio(_));
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        while (state.paused || uses && state.credit == Some(0)) && !cancelled.is_cancelled() {
            state = changed.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(credit) = state.credit.as_mut().filter(|_| uses) {
            *credit = credit.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rspp_specs::ids::InvocationId;
    use std::sync::mpsc::channel;

    #[test]
    fn who_is_paused_waits_until_resumed_or_cancelled() {
        let (valve, over) = (Valve::default(), CancellationToken::new());
        let id = InvocationId(1);
        valve.set(&Effect::PauseInvocation { id });
        let (passed, passes) = channel();
        let (of_thread, until) = (valve.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            for text in ["a", "b", "c"] {
                of_thread.wait(&ProviderResult::Text(text.into()), &until);
                passed.send(text).expect("the test listens");
            }
        });
        assert!(passes.try_recv().is_err(), "it is paused");
        valve.set(&Effect::GrantCredit { id, results: 2 });
        valve.set(&Effect::ResumeInvocation { id });
        assert_eq!([passes.recv(), passes.recv()], [Ok("a"), Ok("b")]);
        assert!(passes.try_recv().is_err(), "its credit is used up");
        over.cancel();
        assert_eq!(passes.recv(), Ok("c"));
        thread.join().expect("it does not panic");
    }
}
