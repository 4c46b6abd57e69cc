//! Whose turn it is where many share a few (`F-174`, `NF-033`).
//!
//! What waits is served by turns: one of a tenant's, then one of the next tenant's, and of each tenant's by turns among its
//! sessions, each session's in its order. So nobody waits for longer than it takes to serve one of each other tenant, however
//! much any of them brings. When no more may wait, whoever has the most waiting gives up its newest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Key;

/// How much may wait and be served at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// What waits, in all.
    pub(crate) waiting: usize,
    /// What is served of one tenant's.
    pub(crate) served_of_a_key: usize,
}

/// What waits.
#[derive(Debug)]
pub(crate) struct FairLine<T> {
    bounds: Bounds,
    tenants: BTreeMap<Arc<str>, Tenant<T>>,
    /// Tenants with something waiting, the next one first.
    turns: VecDeque<Arc<str>>,
    waiting: usize,
}

#[derive(Debug)]
struct Tenant<T> {
    served: usize,
    waiting: usize,
    /// Its sessions with something waiting, the next one first.
    sessions: VecDeque<(Key, VecDeque<T>)>,
}

impl<T> FairLine<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, tenants: BTreeMap::new(), turns: VecDeque::new(), waiting: 0 }
    }

    /// What waits, in all.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Something waits. Gives what has to give way for it, if no more may wait: it itself, where its own tenant has the most.
    pub(crate) fn push(&mut self, tenant: &Arc<str>, session: Key, item: T) -> Option<T> {
        let own = self.tenants.get(tenant).map_or(0, |tenant| tenant.waiting);
        let mut displaced = None;
        if self.waiting >= self.bounds.waiting {
            let most =
                self.tenants.iter().max_by_key(|(_, of)| of.waiting).map(|(key, of)| (Arc::clone(key), of.waiting));
            match most {
                // Taking from who has but one more would only be turned round by its next.
                Some((most, waiting)) if waiting > own + 1 => displaced = self.take_newest(&most),
                _ => return Some(item),
            }
        }
        let of = self.tenants.entry(Arc::clone(tenant)).or_insert_with(|| Tenant {
            served: 0,
            waiting: 0,
            sessions: VecDeque::new(),
        });
        if of.waiting == 0 {
            self.turns.push_back(Arc::clone(tenant));
        }
        of.waiting += 1;
        self.waiting += 1;
        match of.sessions.iter_mut().find(|(key, _)| *key == session) {
            Some((_, items)) => items.push_back(item),
            None => of.sessions.push_back((session, VecDeque::from([item]))),
        }
        displaced
    }

    /// The newest of the session that has the most waiting.
    fn take_newest(&mut self, tenant: &Arc<str>) -> Option<T> {
        let of = self.tenants.get_mut(tenant)?;
        let (place, _) = of.sessions.iter().enumerate().max_by_key(|(_, (_, items))| items.len())?;
        let newest = of.sessions[place].1.pop_back();
        if of.sessions[place].1.is_empty() {
            of.sessions.remove(place);
        }
        self.note_taken(tenant, newest.is_some());
        newest
    }

    /// Whoever is next, and whose it is; it is served until [`FairLine::served`].
    pub(crate) fn pop(&mut self) -> Option<(Arc<str>, T)> {
        let may = |key: &Arc<str>| self.tenants.get(key).is_some_and(|of| of.served < self.bounds.served_of_a_key);
        let place = self.turns.iter().position(may)?;
        let tenant = self.turns.remove(place)?;
        let of = self.tenants.get_mut(&tenant)?;
        let (session, mut items) = of.sessions.pop_front()?;
        let item = items.pop_front()?;
        if !items.is_empty() {
            of.sessions.push_back((session, items));
        }
        of.served += 1;
        if of.waiting > 1 {
            self.turns.push_back(Arc::clone(&tenant));
        }
        of.waiting -= 1;
        self.waiting -= 1;
        Some((tenant, item))
    }

    fn note_taken(&mut self, tenant: &Arc<str>, taken: bool) {
        let Some(of) = self.tenants.get_mut(tenant).filter(|_| taken) else { return };
        of.waiting -= 1;
        self.waiting -= 1;
        if of.waiting == 0 {
            self.turns.retain(|key| key != tenant);
        }
        self.forget_idle(tenant);
    }

    /// One of a tenant's is served.
    pub(crate) fn served(&mut self, tenant: &Arc<str>) {
        if let Some(of) = self.tenants.get_mut(tenant) {
            of.served = of.served.saturating_sub(1);
        }
        self.forget_idle(tenant);
    }

    fn forget_idle(&mut self, tenant: &Arc<str>) {
        if self.tenants.get(tenant).is_some_and(|of| of.served == 0 && of.waiting == 0) {
            self.tenants.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(waiting: usize, served_of_a_key: usize) -> FairLine<String> {
        FairLine::new(Bounds { waiting, served_of_a_key })
    }

    /// `tenant/session/item`: what is pushed, and what has to give way.
    fn push(line: &mut FairLine<String>, text: &str) -> Option<String> {
        let mut parts = text.split('/');
        let tenant: Arc<str> = parts.next().unwrap_or_default().into();
        let session = Key(parts.next().and_then(|part| part.parse().ok()).unwrap_or(0));
        line.push(&tenant, session, text.to_owned())
    }

    fn all(line: &mut FairLine<String>) -> Vec<String> {
        std::iter::from_fn(|| line.pop().map(|(_, item)| item)).collect()
    }

    #[test]
    fn tenants_and_their_sessions_take_turns() {
        let mut line = line(100, 100);
        for item in ["a/1/x", "a/1/y", "a/1/z", "a/2/x", "b/3/x", "b/3/y", "c/4/x"] {
            assert_eq!(push(&mut line, item), None);
        }
        assert_eq!(all(&mut line), ["a/1/x", "b/3/x", "c/4/x", "a/2/x", "b/3/y", "a/1/y", "a/1/z"]);
    }

    #[test]
    fn who_has_the_most_waiting_gives_way() {
        let mut line = line(4, 100);
        for item in ["a/1/w", "a/1/x", "a/2/x", "a/1/y"] {
            assert_eq!(push(&mut line, item), None);
        }
        assert_eq!(push(&mut line, "a/3/x").as_deref(), Some("a/3/x"), "a flood pays for itself");
        assert_eq!(push(&mut line, "b/4/x").as_deref(), Some("a/1/y"));
        assert_eq!(push(&mut line, "b/4/y").as_deref(), Some("a/1/x"));
        assert_eq!(push(&mut line, "b/4/z").as_deref(), Some("b/4/z"), "they have the same now");
        assert_eq!(all(&mut line), ["a/1/w", "b/4/x", "a/2/x", "b/4/y"]);
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn one_tenant_is_served_so_often_at_a_time() {
        let mut line = line(100, 2);
        for item in ["a/1/w", "a/1/x", "a/1/y", "b/2/x"] {
            push(&mut line, item);
        }
        assert_eq!(all(&mut line), ["a/1/w", "b/2/x", "a/1/x"]);
        line.served(&"b".into());
        assert_eq!(all(&mut line), [""; 0], "it is a's, and a has two");
        line.served(&"a".into());
        assert_eq!(all(&mut line), ["a/1/y"]);
        for tenant in ["a", "a"] {
            line.served(&tenant.into());
        }
        assert!(line.tenants.is_empty() && line.turns.is_empty(), "who has nothing is forgotten");
    }

    proptest! {
        /// Whatever is brought, in whatever order: nobody who waits sees another tenant served twice before it.
        #[test]
        fn nobody_starves(items in proptest::collection::vec((0u8..5, 0u64..4), 1..200)) {
            let mut line = FairLine::new(Bounds { waiting: 1_000, served_of_a_key: 1_000 });
            let mut waiting: BTreeMap<Arc<str>, usize> = BTreeMap::new();
            let mut served_since: BTreeMap<Arc<str>, BTreeMap<Arc<str>, usize>> = BTreeMap::new();
            for (place, (tenant, session)) in items.into_iter().enumerate() {
                let tenant: Arc<str> = format!("tenant-{tenant}").into();
                line.push(&tenant, Key(session), place);
                *waiting.entry(tenant).or_default() += 1;
                if place % 3 == 0 { continue }
                let Some((next, _)) = line.pop() else { continue };
                *waiting.entry(Arc::clone(&next)).or_default() -= 1;
                served_since.remove(&next);
                for (other, _) in waiting.iter().filter(|(other, count)| **count > 0 && **other != next) {
                    let times = served_since.entry(Arc::clone(other)).or_default().entry(Arc::clone(&next)).or_default();
                    *times += 1;
                    prop_assert!(*times <= 2, "{other} waits and {next} was served {times} times");
                }
            }
        }
    }
}
