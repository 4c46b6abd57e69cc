//! From a request to a WebSocket.

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tungstenite::handshake::server::create_response_with_body;

use super::attendant::{Attendant, Visit};
use super::socket::{Socket, WebSocketPeer};
use crate::transport::{Refusal, RefusalCode};

/// A request for a WebSocket, and what it is answered with.
pub(super) struct Upgrade {
    on: OnUpgrade,
    answer: Response,
}

impl Upgrade {
    /// Looks whether the request is one.
    ///
    /// # Errors
    /// It asks for something else, or not as it should.
    pub(super) fn of(request: &mut Request) -> Result<Self, Refusal> {
        let answer = create_response_with_body(request, Body::empty).map_err(|error| {
            let says = format!("a WebSocket is to be had here, and was not asked for as RFC 6455 has it: {error}");
            Refusal::fatal(RefusalCode::Malformed, says)
        })?;
        Ok(Self { on: hyper::upgrade::on(request), answer })
    }

    /// Agrees on a subprotocol: the first of ours that the peer offers. `None` if it offers some, and speaks none of ours.
    pub(super) fn agree(&mut self, ours: &[&'static str], headers: &HeaderMap) -> Option<Option<&'static str>> {
        let agreed = ours.iter().copied().find(|ours| offered(headers).any(|word| word == *ours));
        if let Some(agreed) = agreed {
            self.answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(agreed));
        }
        let may_go_without = ours.is_empty() || offered(headers).next().is_none();
        (agreed.is_some() || may_go_without).then_some(agreed)
    }

    /// Answers, and attends the peer as soon as it has the answer. A message has at most so many bytes.
    pub(super) fn attend(self, visit: Visit, message_bytes: usize) -> Response {
        let Self { on, answer } = self;
        tokio::spawn(async move {
            if let Ok(upgraded) = on.await {
                Attendant::attend(visit, socket(upgraded, message_bytes)).await;
            }
        });
        answer
    }
}

/// The subprotocols that a peer speaks.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// The connection itself, without what HTTP has put around it.
fn socket(upgraded: Upgraded, message_bytes: usize) -> Box<dyn Socket> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Box::new(WebSocketPeer::new(parts.io.into_inner(), &parts.read_buf, message_bytes)),
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
        Ok(parts) => Box::new(WebSocketPeer::new(parts.io.into_inner(), &parts.read_buf, message_bytes)),
        Err(upgraded) => Box::new(WebSocketPeer::new(TokioIo::new(upgraded), &[], message_bytes)),
    }
}
