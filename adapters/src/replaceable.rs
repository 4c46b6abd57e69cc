//! A provider that may die without taking its call along, because the plan names another.

use rspp_specs::event::{AudioFrame, Request};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use crate::provider::{Answer, Provider, ProviderError};

/// Passes everything on until its provider is of no use any more; from then on every call fails at once, and the core
/// turns to the next.
pub(crate) struct Replaceable {
    node: String,
    provider: Result<Box<dyn Provider>, Dead>,
}

/// Why the provider is gone, until somebody was told.
struct Dead {
    why: Option<String>,
}

impl Replaceable {
    /// One that works so far, or that could not be had to begin with.
    pub(crate) fn new(node: &str, provider: Result<Box<dyn Provider>, ProviderError>) -> Self {
        let provider = provider.map_err(|error| Dead { why: Some(error.to_string()) });
        Self { node: node.to_owned(), provider }
    }

    fn pass_on(
        &mut self,
        answer: &mut Answer<'_>,
        order: impl FnOnce(&mut dyn Provider, &mut Answer<'_>) -> Result<(), ProviderError>,
    ) {
        if let Ok(provider) = &mut self.provider {
            match order(provider.as_mut(), answer) {
                Ok(()) => return,
                Err(error) => self.provider = Err(Dead { why: Some(error.to_string()) }),
            }
        }
        if let Err(Dead { why }) = &mut self.provider
            && let Some(why) = why.take()
        {
            answer.note(&format!("{}: {why}; the next of its providers is called", self.node));
        }
        answer.end(Micros(0), Outcome::Failed);
    }
}

impl Provider for Replaceable {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        self.pass_on(answer, |provider, answer| provider.invoke(request, answer));
        Ok(())
    }

    fn feed(&mut self, frame: &AudioFrame, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        self.pass_on(answer, |provider, answer| provider.feed(frame, answer));
        Ok(())
    }

    fn feed_end(&mut self, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        self.pass_on(answer, |provider, answer| provider.feed_end(answer));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::answered_and_noted;

    struct Mortal(u32);

    impl Provider for Mortal {
        fn invoke(&mut self, _: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
            if self.0 == 0 {
                return Err(ProviderError::NoProgram { node: "tts".into(), binding: "x".into() });
            }
            self.0 -= 1;
            answer.end(Micros(0), Outcome::Success);
            Ok(())
        }
    }

    #[test]
    fn a_dead_provider_fails_each_call_and_is_told_of_once() {
        let mut provider = Replaceable::new("tts", Ok(Box::new(Mortal(1))));
        let mut shown = Vec::new();
        for _ in 0..3 {
            let request = Request::Speak { text: "a".into() };
            let (results, notes) = answered_and_noted(|answer| provider.invoke(&request, answer));
            shown.push((results.len(), format!("{:?}", results[0].result), notes.len()));
        }
        let end = |outcome: &str| format!("End({outcome})");
        assert_eq!(shown, [(1, end("Success"), 0), (1, end("Failed"), 1), (1, end("Failed"), 0)]);
    }
}
