//! A model behind an OpenAI-compatible endpoint: chat completions, streamed, with tools. Ollama, llama.cpp, vLLM and
//! OpenAI itself speak it.
//!
//! An answer's pieces go on as they come. A request that fails ends its invocation with a normalized outcome, and
//! says why in a note; the call goes on, and the core decides what follows.

mod messages;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ACCEPT, HeaderValue};
use rspp_specs::binding::Endpoint;
use rspp_specs::event::Request;
use rspp_specs::outcome::Outcome;

use crate::http::{Client, Fault, Post, Timeouts};
use crate::provider::{Answer, Provider, ProviderError, Wanted, latency, refuse};
use crate::secret::Secrets;
use messages::Conversation;
use stream::ChatReader;

/// How much of an answer is taken, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all events together, with what is around the words.
    pub response_bytes: usize,
    /// Of one event.
    pub event_bytes: usize,
    /// Of one tool call's arguments.
    pub argument_bytes: usize,
    /// Tool calls in one answer.
    pub tool_calls: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { response_bytes: 8 << 20, event_bytes: 256 << 10, argument_bytes: 32 << 10, tool_calls: 16 }
    }
}

/// How to talk to a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much to take.
    pub bounds: Bounds,
}

/// The one server that is known to answer nobody without a key.
const OPENAI: &str = "api.openai.com";

/// A model.
pub struct Model {
    node: String,
    client: Client,
    conversation: Conversation,
    bounds: Bounds,
}

impl Model {
    /// Reads the binding and its key, and connects: somebody must listen there.
    ///
    /// # Errors
    /// [`ProviderError::Binding`] for what the spec or the environment has to change, [`ProviderError::Server`] if
    /// nobody listens or TLS fails.
    pub fn open(wanted: &Wanted<'_>, secrets: &Secrets, options: Options) -> Result<Self, ProviderError> {
        let fail = |what: String| wanted.refused(&what);
        let endpoint = Endpoint::parse(wanted.binding).map_err(|error| fail(error.to_string()))?;
        let Some(model) = endpoint.model.clone() else {
            return Err(fail("it names no model: write `http://HOST:PORT/v1#MODEL`".to_owned()));
        };
        if endpoint.host == OPENAI && endpoint.key.is_none() {
            return Err(fail(format!(
                "{OPENAI} wants a key: write `https://{OPENAI}/v1?key=env:OPENAI_API_KEY#{model}`"
            )));
        }
        let key = endpoint.key.as_ref().map(|reference| secrets.read(reference).map(Arc::new)).transpose();
        let key = key.map_err(|error| fail(error.to_string()))?;
        let conversation = Conversation::new(&model, wanted.prompt, wanted.tools);
        let mut client = Client::new(endpoint, key, options.timeouts).map_err(|fault| wanted.unreached(fault))?;
        client.connect().map_err(|fault| wanted.unreached(fault))?;
        Ok(Self { node: wanted.node.to_owned(), client, conversation, bounds: options.bounds })
    }

    /// What people are told of a fault: who, what, and what to do.
    fn explain(&self, fault: &Fault) -> String {
        let (node, endpoint) = (&self.node, self.client.endpoint());
        let hint = match (fault, self.client.key()) {
            (Fault::Status { code: 401 | 403, .. }, Some(key)) => format!("the key of {} was refused", key.reference()),
            (Fault::Status { code: 401 | 403, .. }, None) => {
                "it wants a key: add `?key=env:NAME` to the binding".to_owned()
            }
            (Fault::Status { code: 404, .. }, _) => {
                let model = endpoint.model.as_deref().unwrap_or_default();
                format!("is `{model}` there, and is the path right, as in `http://HOST:PORT/v1`?")
            }
            (Fault::Status { code: 300..=399, .. }, _) => "redirects are not followed: correct the address".to_owned(),
            (Fault::Status { retry_after: Some(seconds), .. }, _) => format!("it says to wait for {seconds} s"),
            (Fault::MediaType { .. } | Fault::Nonsense { .. }, _) => {
                "is it an OpenAI-compatible server, and is the path right, as in `http://HOST:PORT/v1`?".to_owned()
            }
            _ => return format!("{node}: {}: {fault}", endpoint.authority()),
        };
        format!("{node}: {}: {fault}; {hint}", endpoint.authority())
    }

    fn warn_of_plain_key(&self, answer: &mut Answer<'_>) {
        let endpoint = self.client.endpoint();
        if self.client.key().is_some() && !endpoint.secure && !endpoint.is_loopback() {
            answer.note(&format!("{}: the key goes to {} without encryption", self.node, endpoint.authority()));
        }
    }
}

impl Provider for Model {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Chat { context } = request else { return refuse(answer) };
        self.warn_of_plain_key(answer);
        let post = Post {
            path: "/chat/completions",
            body: Bytes::from(self.conversation.body(context)),
            headers: vec![(ACCEPT, HeaderValue::from_static("text/event-stream"))],
        };
        let cancelled = answer.cancelled();
        let key = self.client.key().map(Arc::clone);
        let mut reader = ChatReader::new(answer, self.bounds, key, context);
        let done = self.client.post(&post, &mut reader, cancelled);
        let after = reader.after();
        match done {
            Ok(()) => answer.end(after, Outcome::Success),
            Err(fault) => {
                answer.note(&self.explain(&fault));
                answer.end(after.max(latency::FIRST_TEXT), fault.outcome());
            }
        }
        Ok(())
    }
}
