//! Words to people while a call runs: why an invocation failed. They are in no recording, and the core knows nothing
//! of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Different notes of one call that are told; the rest is left out, and that is told.
const MAX_NOTES: usize = 64;

type Tell = Box<dyn FnMut(&str) + Send>;

/// Tells each note once. Shared by the threads of a call; by default nobody listens.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    texts: BTreeSet<String>,
    tell: Option<Tell>,
}

impl Notes {
    /// Notes that go to `tell`.
    pub fn new(tell: impl FnMut(&str) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Told { texts: BTreeSet::new(), tell: Some(Box::new(tell)) })))
    }

    /// Tells a note, unless it was told before.
    pub fn say(&self, text: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_NOTES - told.texts.len();
        if room == 0 || !told.texts.insert(text.to_owned()) {
            return;
        }
        if let Some(tell) = &mut told.tell {
            tell(if room == 1 { "there were more notes, which are left out" } else { text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_told_once_and_not_without_end() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listening = Arc::clone(&heard);
        let notes = Notes::new(move |text| listening.lock().expect("nobody panicked").push(text.to_owned()));
        notes.say("a");
        notes.say("a");
        (0..2 * MAX_NOTES).for_each(|number| notes.say(&number.to_string()));
        let heard = heard.lock().expect("nobody panicked");
        assert_eq!((heard.len(), heard[0].as_str(), heard[1].as_str()), (MAX_NOTES, "a", "0"));
        assert_eq!(heard[MAX_NOTES - 1], "there were more notes, which are left out");
    }
}
