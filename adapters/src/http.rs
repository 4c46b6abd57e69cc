//! A client for one server over HTTP/1.1: one request at a time, its answer handed on as it comes, every wait bounded.
//!
//! It has a small runtime of its own, on its caller's thread, and no task runs on it but the one exchange: what is
//! cancelled or late is dropped, and its socket is closed in the same moment. The connection is kept between requests.

mod connection;
mod fault;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use rspp_specs::binding::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::secret::Secret;
use connection::{Connection, Exchange, Line};

pub use fault::Fault;
pub(crate) use fault::cut;

/// How long to wait for a server, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, with the look-up of the name and TLS.
    pub connect: Duration,
    /// From the request to the first byte of the answer's body: a server may load its model first.
    pub first_byte: Duration,
    /// From one piece of the body to the next.
    pub stall: Duration,
    /// For all of it.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            stall: Duration::from_secs(20),
            whole: Duration::from_secs(180),
        }
    }
}

/// Who takes in the body of a good answer.
pub(crate) trait Reader {
    /// The media type that the answer must have, if it matters.
    fn media_type(&self) -> Option<&'static str>;

    /// The next piece of the body; breaks when nothing more is wanted.
    fn take(&mut self, piece: Bytes) -> Result<ControlFlow<()>, Fault>;

    /// The body has ended, and `take` has not broken.
    fn end(&mut self) -> Result<(), Fault>;
}

/// What is sent.
pub(crate) struct Post {
    /// Behind the endpoint's path.
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    /// Beside those that every request has.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// A server and the connection to it.
pub struct Client {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    line: Line,
    timeouts: Timeouts,
    kept: Option<Connection>,
    key: Option<Arc<Secret>>,
}

impl Client {
    /// A client for the server of `endpoint`; nothing is sent yet.
    ///
    /// # Errors
    /// The machine has no root certificates, or gives no runtime.
    pub fn new(endpoint: Endpoint, key: Option<Arc<Secret>>, timeouts: Timeouts) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| Fault::NoRuntime { detail: error.to_string() })?;
        Ok(Self { runtime: Some(runtime), line: Line::new(endpoint)?, timeouts, kept: None, key })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.line.endpoint
    }

    /// By which key.
    pub fn key(&self) -> Option<&Arc<Secret>> {
        self.key.as_ref()
    }

    /// Whether somebody listens there: connects, and hangs up unless it is kept for the first request.
    ///
    /// # Errors
    /// Nobody does, the name is unknown, or TLS fails.
    pub fn connect(&mut self) -> Result<(), Fault> {
        let runtime = self.runtime.as_ref().expect("it is there until the client is dropped");
        self.kept = Some(runtime.block_on(self.line.connect(self.timeouts.connect))?);
        Ok(())
    }

    /// Sends a request and hands the answer's body to `reader`, until `cancelled`.
    pub(crate) fn post(
        &mut self,
        post: &Post,
        reader: &mut dyn Reader,
        cancelled: &CancellationToken,
    ) -> Result<(), Fault> {
        let whole = self.timeouts.whole;
        let request = request(&self.line.endpoint, self.key.as_deref(), post)?;
        let (line, timeouts, key) = (&self.line, self.timeouts, self.key.as_deref());
        let exchange = Exchange { line, timeouts, key, request, reader };
        let runtime = self.runtime.as_ref().expect("it is there until the client is dropped");
        let kept = &mut self.kept;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => Err(Fault::Cancelled),
                done = tokio::time::timeout(whole, exchange.run(kept)) => {
                    done.unwrap_or(Err(Fault::TimedOut { awaited: "end of the answer", after: whole }))
                }
            }
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A look-up of a name can't be cancelled; nobody waits for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Bytes to and from a server, over TLS or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to the server of `endpoint` for whoever speaks something else than this client, on the caller's runtime.
///
/// # Errors
/// Nobody listens there in time, the name is unknown, or TLS fails.
pub async fn reach(endpoint: &Endpoint, limit: Duration) -> Result<Box<dyn Stream>, Fault> {
    let line = Line::new(endpoint.clone())?;
    let reached = tokio::time::timeout(limit, line.reach()).await;
    reached.unwrap_or(Err(Fault::TimedOut { awaited: "connection", after: limit }))
}

type Body = http_body_util::Full<Bytes>;

fn request(endpoint: &Endpoint, key: Option<&Secret>, post: &Post) -> Result<Request<Body>, Fault> {
    let wrong = |what: &str| Fault::Misuse { detail: format!("no request can be made: {what}") };
    let path = format!("{}{}", endpoint.path, post.path);
    let uri: Uri = if path.is_empty() { "/" } else { &path }.parse().map_err(|_| wrong("its path"))?;
    let host = HeaderValue::from_str(&endpoint.authority()).map_err(|_| wrong("its host"))?;
    let mut request = Request::new(Body::new(post.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("rspp/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(post.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, key.bearer());
    }
    Ok(request)
}
