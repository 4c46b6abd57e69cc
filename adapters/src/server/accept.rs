//! Takes connections: so many, each with so long for its handshake and its request's head.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::turnstile::{Origin, Pace};
use super::{Certificate, House, ServerError, routes};
use crate::transport::{Refusal, RefusalCode};

/// When the system gives no connection, it is asked again after so long.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Connections over a limit that are told so at the same time; more are closed without a word.
const MAX_TURNED_AWAY: usize = 64;
/// How long turning one away may take.
const TURNING_AWAY: Duration = Duration::from_millis(500);

/// One connection: counted as long as anybody holds this.
pub(super) struct Counted {
    house: Arc<House>,
    /// From where it comes, if it comes by the network.
    from: Option<Origin>,
    is_call: AtomicBool,
}

impl Counted {
    /// Somebody who is vouched for.
    pub(super) fn new(house: &Arc<House>) -> Result<Arc<Self>, Refusal> {
        Self::from(house, None)
    }

    /// Somebody from this address.
    fn arrive(house: &Arc<House>, address: IpAddr) -> Result<Arc<Self>, Refusal> {
        let from = Origin::from(address);
        house.arrivals.arrive(&house.limits, from, Instant::now())?;
        Self::from(house, Some(from)).inspect_err(|_| house.arrivals.leave(from, false))
    }

    fn from(house: &Arc<House>, from: Option<Origin>) -> Result<Arc<Self>, Refusal> {
        let (count, most) = (&house.traffic.connections, house.limits.connections);
        let more = |connections: usize| (connections < most).then_some(connections + 1);
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .map_err(|_| Refusal::fatal(RefusalCode::Full, "this server has as many connections as it takes"))?;
        house.traffic.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self { house: Arc::clone(house), from, is_call: AtomicBool::new(false) }))
    }

    /// It is a call from now on.
    pub(super) fn become_call(&self) {
        if let Some(from) = self.from
            && !self.is_call.swap(true, Ordering::AcqRel)
        {
            self.house.arrivals.become_call(from);
        }
    }

    /// It broke the rules.
    pub(super) fn misbehave(&self) {
        self.from.into_iter().for_each(|from| self.house.arrivals.misbehave(from));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(from) = self.from {
            self.house.arrivals.leave(from, *self.is_call.get_mut());
        }
        self.house.traffic.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Until it is dropped.
pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, house: Arc<House>) {
    let router = routes::router(Arc::clone(&house));
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut pace = Pace::new(&house.limits, Instant::now());
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, most often: some are closed soon.
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        match Counted::arrive(&house, peer.ip()) {
            Ok(counted) => {
                let _ = stream.set_nodelay(true);
                let (router, tls, house) = (router.clone(), tls.clone(), Arc::clone(&house));
                tokio::spawn(async move { attend(stream, tls, router, house, counted).await });
            }
            Err(refusal) => {
                house.traffic.refuse(refusal.code);
                if let Ok(permit) = Arc::clone(&turned_away).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(TURNING_AWAY, turn_away(stream, &refusal)).await;
                        drop(permit);
                    });
                }
            }
        }
        if let Some(pause) = pace.on_arrival(Instant::now()) {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Says that there is no room, and reads what was asked, so that the word is not lost with a reset.
async fn turn_away(mut stream: TcpStream, refusal: &Refusal) {
    let status = if refusal.code == RefusalCode::Full { "503 Service Unavailable" } else { "429 Too Many Requests" };
    let says = format!("{refusal}\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: \
         {}\r\n\r\n{says}",
        says.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    let mut asked = [0; 1_024];
    while matches!(stream.read(&mut asked).await, Ok(1..)) {}
}

async fn attend(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, house: Arc<House>, counted: Arc<Counted>) {
    match tls {
        None => serve(stream, router, &house, counted).await,
        Some(tls) => match tokio::time::timeout(house.limits.handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, router, &house, counted).await,
            Ok(Err(_)) => house.traffic.refuse(RefusalCode::Malformed),
            Err(_) => house.traffic.refuse(RefusalCode::HandshakeTimeout),
        },
    }
}

/// Requests of one connection, until one of them makes a WebSocket of it.
async fn serve<S>(stream: S, router: Router, house: &House, counted: Arc<Counted>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // A WebSocket goes on counting as the connection that it was made of.
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&counted));
        router.call(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(house.limits.handshake)
        .max_buf_size(house.limits.head_bytes)
        .keep_alive(true);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        done = connection => {
            if done.is_err_and(|error| error.is_timeout()) {
                house.traffic.refuse(RefusalCode::HandshakeTimeout);
            }
        }
        () = house.over.cancelled() => {}
    }
}

/// TLS with this certificate.
pub(super) fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, ServerError> {
    let Certificate { chain, key } = certificate;
    let wrong = |path: &std::path::Path, says: String| ServerError::Certificate { path: path.to_owned(), says };
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(chain, format!("{error:?}; it has to be PEM")))?;
    if certificates.is_empty() {
        return Err(wrong(chain, "there is no certificate in it".to_owned()));
    }
    let key_der =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, format!("{error:?}; it has to be a PEM key")))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(chain, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key_der)
        .map_err(|error| wrong(key, format!("{error}: is it the key of this certificate?")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
