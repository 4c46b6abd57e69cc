//! A tool behind an address: the arguments are posted, and the answer's body is the result.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use rspp_specs::binding::Endpoint;
use rspp_specs::event::{Request, ToolCall};
use tokio_util::sync::CancellationToken;

use super::{Ended, MAX_RESULT_BYTES, check_arguments, tell};
use crate::http::{Client, Fault, Post, Reader, Timeouts};
use crate::provider::{Answer, Provider, ProviderError, Wanted, refuse};
use crate::secret::Secrets;

/// A caller waits in silence meanwhile.
pub(super) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(20),
    stall: Duration::from_secs(10),
    whole: Duration::from_secs(30),
};

/// A tool that is posted to, with the call's key in `Idempotency-Key`.
pub struct Web {
    node: String,
    client: Client,
}

impl Web {
    /// Reads the binding and its key; connects at the first call.
    ///
    /// # Errors
    /// The binding, its key, or TLS on this machine.
    pub fn open(wanted: &Wanted<'_>, secrets: &Secrets, timeouts: Timeouts) -> Result<Self, ProviderError> {
        let endpoint = Endpoint::parse(wanted.binding).map_err(|error| wanted.refused(&error.to_string()))?;
        let key = endpoint.key.as_ref().map(|reference| secrets.read(reference).map(Arc::new)).transpose();
        let key = key.map_err(|error| wanted.refused(&error.to_string()))?;
        let client = Client::new(endpoint, key, timeouts).map_err(|fault| wanted.unreached(fault))?;
        Ok(Self { node: wanted.node.to_owned(), client })
    }

    fn call(&mut self, call: &ToolCall, cancelled: &CancellationToken) -> Ended {
        if let Err(ended) = check_arguments(call) {
            return ended;
        }
        let bad = |fault: &Fault| Ended::Badly(fault.outcome(), fault.to_string());
        let Ok(key) = HeaderValue::from_str(&call.key) else {
            return bad(&Fault::Misuse { detail: "the call's key can be no header".to_owned() });
        };
        let headers = vec![(HeaderName::from_static("idempotency-key"), key)];
        let post = Post { path: "", body: Bytes::copy_from_slice(call.arguments.as_bytes()), headers };
        let mut whole = Whole::default();
        match self.client.post(&post, &mut whole, cancelled) {
            Ok(()) => {
                let text = String::from_utf8_lossy(&whole.bytes);
                let text = self.client.key().map_or_else(|| text.clone().into_owned(), |key| key.remove(&text));
                Ended::Well(text.trim().to_owned())
            }
            Err(fault) => bad(&fault),
        }
    }
}

impl Provider for Web {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Tool(call) = request else { return refuse(answer) };
        let ended = self.call(call, answer.cancelled());
        tell(&self.node, call, ended, answer);
        Ok(())
    }
}

/// An answer that is taken as one.
#[derive(Default)]
struct Whole {
    bytes: Vec<u8>,
}

impl Reader for Whole {
    fn media_type(&self) -> Option<&'static str> {
        None
    }

    fn take(&mut self, piece: Bytes) -> Result<ControlFlow<()>, Fault> {
        if self.bytes.len() + piece.len() > MAX_RESULT_BYTES {
            return Err(Fault::TooMuch { what: "the answer", limit: MAX_RESULT_BYTES, unit: "bytes" });
        }
        self.bytes.extend_from_slice(&piece);
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}
