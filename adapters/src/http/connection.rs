//! One connection, and one exchange over it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rspp_specs::binding::Endpoint;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Body, Fault, Reader, Stream, Timeouts};
use crate::secret::Secret;

/// A server's head: more is no answer to us.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Of an answer that is none.
const MAX_ERROR_BYTES: usize = 16 * 1024;
/// How long an answer that is none may take to say why.
const ERROR_PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of a body is waited for behind the last piece that was wanted, so that the connection is kept.
const TAIL_PATIENCE: Duration = Duration::from_millis(100);

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection. It moves only while it is polled alongside an exchange; dropping it closes its socket.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// `None` once it has ended.
    driver: Option<Driver>,
}

impl Connection {
    fn over(
        sender: SendRequest<Body>,
        driver: impl Future<Output = Result<(), hyper::Error>> + Send + 'static,
    ) -> Self {
        // What breaks a connection is told to the exchange, too.
        let driver: Driver = Box::pin(async { driver.await.unwrap_or_default() });
        Self { sender, driver: Some(driver) }
    }

    fn is_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }
}

/// The way to a server.
pub(super) struct Line {
    pub(super) endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Line {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, Fault> {
        let tls = if endpoint.secure { Some(tls(&endpoint.host)?) } else { None };
        Ok(Self { endpoint, tls })
    }

    pub(super) async fn connect(&self, limit: Duration) -> Result<Connection, Fault> {
        let connected = timeout(limit, self.dial()).await;
        connected.unwrap_or(Err(Fault::TimedOut { awaited: "connection", after: limit }))
    }

    async fn dial(&self) -> Result<Connection, Fault> {
        let stream = self.reach().await?;
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        Ok(Connection::over(sender, driver))
    }

    pub(super) async fn reach(&self) -> Result<Box<dyn Stream>, Fault> {
        let refused = |error: std::io::Error| Fault::NoConnection { detail: error.to_string() };
        let socket = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await.map_err(refused)?;
        socket.set_nodelay(true).map_err(refused)?;
        let Some((tls, name)) = &self.tls else { return Ok(Box::new(socket)) };
        let insecure = |error: std::io::Error| Fault::Tls { detail: error.to_string() };
        Ok(Box::new(tls.connect(name.clone(), socket).await.map_err(insecure)?))
    }
}

fn tls(host: &str) -> Result<(TlsConnector, ServerName<'static>), Fault> {
    let fail = |detail: String| Fault::Tls { detail };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Fault::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| fail(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| fail(error.to_string()))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// One request and its answer.
pub(super) struct Exchange<'a> {
    pub(super) line: &'a Line,
    pub(super) timeouts: Timeouts,
    pub(super) key: Option<&'a Secret>,
    pub(super) request: Request<Body>,
    pub(super) reader: &'a mut dyn Reader,
}

/// Why there is no answer.
enum Failure {
    /// The connection ended before the answer began.
    Unanswered(Fault),
    Other(Fault),
}

impl Exchange<'_> {
    /// Over the connection that was kept, or a new one; keeps it again if it may be used again.
    pub(super) async fn run(mut self, kept: &mut Option<Connection>) -> Result<(), Fault> {
        loop {
            let reused = kept.take().filter(Connection::is_open);
            let is_reused = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => self.line.connect(self.timeouts.connect).await?,
            };
            let Connection { sender, driver } = &mut connection;
            match alongside(driver, self.hold(sender)).await {
                Ok(whole) => {
                    *kept = Some(connection).filter(|connection| whole && connection.is_open());
                    return Ok(());
                }
                // The server has hung up since the last request; it has not begun with this one.
                Err(Failure::Unanswered(_)) if is_reused => {}
                Err(Failure::Unanswered(fault) | Failure::Other(fault)) => return Err(fault),
            }
        }
    }

    /// Whether all of the answer was read.
    async fn hold(&mut self, sender: &mut SendRequest<Body>) -> Result<bool, Failure> {
        let after = self.timeouts.first_byte;
        let deadline = Instant::now() + after;
        let late = || Failure::Other(Fault::TimedOut { awaited: "first byte of the answer", after });
        let request = self.request.clone();
        let answer = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = timeout_at(deadline, answer).await.map_err(|_| late())?;
        let response = response.map_err(|error| match broken(&error) {
            fault @ Fault::Disconnected { .. } => Failure::Unanswered(fault),
            fault => Failure::Other(fault),
        })?;
        if !response.status().is_success() {
            return Err(Failure::Other(self.refused(response).await));
        }
        self.check_type(response.headers()).map_err(Failure::Other)?;
        let mut body = response.into_body();
        let first = timeout_at(deadline, body.frame()).await.map_err(|_| late())?;
        self.read(body, first).await.map_err(Failure::Other)
    }

    async fn read(&mut self, mut body: Incoming, first: Option<Frame>) -> Result<bool, Fault> {
        let stall = self.timeouts.stall;
        let mut next = first;
        while let Some(frame) = next {
            let frame = frame.map_err(|error| broken(&error))?;
            if let Ok(piece) = frame.into_data()
                && self.reader.take(piece)?.is_break()
            {
                return Ok(timeout(TAIL_PATIENCE, is_at_end(&mut body)).await.unwrap_or(false));
            }
            next = timeout(stall, body.frame())
                .await
                .map_err(|_| Fault::TimedOut { awaited: "more of the answer", after: stall })?;
        }
        self.reader.end()?;
        Ok(true)
    }

    fn check_type(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let Some(wanted) = self.reader.media_type() else { return Ok(()) };
        let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing that it names");
        let essence = found.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(Fault::MediaType { found: super::fault::cut(&self.scrub(found)), wanted })
    }

    /// What an answer that is none says.
    async fn refused(&self, response: Response<Incoming>) -> Fault {
        let code = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                bytes.extend_from_slice(&frame.into_data().unwrap_or_else(|_| Bytes::new()));
                if bytes.len() >= MAX_ERROR_BYTES {
                    break;
                }
            }
        };
        // What has come by then is all that is told.
        let _ = timeout(ERROR_PATIENCE, reading).await;
        bytes.truncate(MAX_ERROR_BYTES);
        // Before and behind the parser: JSON may have been cut within the key, and may have escapes in it.
        let body = self.scrub(&String::from_utf8_lossy(&bytes));
        Fault::of_status(code, retry_after, &body, |text| self.scrub(text))
    }

    fn scrub(&self, text: &str) -> String {
        self.key.map_or_else(|| text.to_owned(), |key| key.scrub(text))
    }
}

type Frame = Result<hyper::body::Frame<Bytes>, hyper::Error>;

/// Whether nothing but the end follows.
async fn is_at_end(body: &mut Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        // White space behind the last event is nobody's answer.
        let blank = |piece: Bytes| piece.trim_ascii().is_empty();
        if !frame.is_ok_and(|frame| frame.into_data().is_ok_and(blank)) {
            return false;
        }
    }
    true
}

/// Works, and moves the connection meanwhile.
async fn alongside<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Some(moving) = driver {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = moving => {}
        }
        *driver = None;
    }
    work.await
}

fn broken(error: &hyper::Error) -> Fault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let detail = cause.to_string();
    let nonsense = cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData)
    });
    if error.is_parse() || nonsense { Fault::Nonsense { detail } } else { Fault::Disconnected { detail } }
}
