//! The way to a collector: one request for each batch, over our own HTTP and TLS.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{Uri, client::conn::http1};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use rspp_adapters::http::reach;
use rspp_specs::binding::Endpoint;

/// An answer is a few bytes; of one that is longer nothing is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Sends batches.
pub(crate) struct Client {
    /// How long one request may take, with its connection and its answer.
    pub(crate) patience: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("patience", &self.patience).finish()
    }
}

/// Where a request is to go.
fn endpoint(uri: &Uri) -> Result<Endpoint, HttpError> {
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().ok_or("the collector's address has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok(Endpoint { secure, host, port, path: String::new(), key: None, model: None })
}

async fn exchange(request: Request<Bytes>, patience: Duration) -> Result<Response<Bytes>, HttpError> {
    let endpoint = endpoint(request.uri())?;
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    head.uri = path;
    head.headers.insert(HOST, HeaderValue::from_str(&endpoint.authority())?);
    let stream = reach(&endpoint, patience).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = response.into_parts();
        let bytes = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(head, bytes))
    };
    tokio::pin!(answer, connection);
    // The connection moves only while it is polled, and ends with the exchange.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

impl HttpClient for Client {
    // What `#[async_trait]` writes.
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        let patience = self.patience;
        Box::pin(async move {
            let done = tokio::time::timeout(patience, exchange(request, patience)).await;
            done.unwrap_or_else(|_| Err("the collector does not answer in time".into()))
        })
    }
}
