//! The control plane as a process: a folder with its store and its keys, an address, and a thread that looks who is dead.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rspp_adapters::admission::Priority;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::token::{AUDIENCE, Claims, Issuer, LeaseClaim};
use rspp_compiler::Registry;
use rspp_controlplane::api;
use rspp_controlplane::keys::Role;
use rspp_controlplane::plane::{Caller, Config, Grant, Hands, Plane};
use rspp_controlplane::refusal::Refusal;
use rspp_controlplane::store::{Bounds, Sqlite, StoreError};
use rspp_controlplane::time::Millis;
use rspp_controlplane::wire::KeyRequest;

/// What a control plane needs to be there.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its folder.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it goes by.
    pub config: Config,
}

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its folder, or a file in it.
    #[error("{path}: {error}; --data names a folder that can be written")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Its store.
    #[error("{path}: {error}")]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        error: StoreError,
    },
    /// The key that signs tokens.
    #[error("{path}: this is no key that signs: `rspp token new-key` makes one")]
    Key {
        /// Its file.
        path: PathBuf,
    },
    /// The address.
    #[error("can't listen on {listen}: {error}; is another one there? --listen names another address")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// What it was asked for at its beginning.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The system.
    #[error("the control plane can't go on: {0}")]
    System(std::io::Error),
}

/// What people are told when it begins.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// The file with the first key, if it was made now.
    pub first_key: Option<PathBuf>,
}

/// How often it is looked who is dead.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of those looks, so many go by before placement reads anew what another control plane did.
const REFRESH_EVERY: u32 = 20;

/// Is a control plane until it is told to end.
///
/// # Errors
/// What, where, and what to do.
pub fn host(
    host: &Host,
    registry: &Registry,
    interrupt: &Interrupt,
    on_ready: impl FnOnce(&Ready),
    tell: impl Fn(&str) + Send + 'static,
) -> Result<(), HostError> {
    let plane = Arc::new(open(host, registry)?);
    let first_key = first_key(&plane, &host.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("api").enable_all().build();
    let runtime = runtime.map_err(HostError::System)?;
    let listen = |error| HostError::Listen { listen: host.listen, error };
    let listener = runtime.block_on(api::listen(host.listen)).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let _ending = interrupt.ending();
    on_ready(&Ready { address, first_key });
    let asked = interrupt.asked().clone();
    runtime.spawn(look_after(Arc::clone(&plane), tell));
    let served = runtime.block_on(async {
        tokio::select! {
            served = api::serve(listener, plane, std::future::pending()) => served,
            () = asked.cancelled() => Ok(()),
        }
    });
    // Who waits for a view would be waited for: the store is whole at any moment.
    runtime.shutdown_background();
    served.map_err(HostError::System)
}

/// The control plane of a folder; its store and its key are made if they are not there.
///
/// # Errors
/// What, where, and what to do.
pub fn open(host: &Host, registry: &Registry) -> Result<Plane, HostError> {
    let folder = |error| HostError::Folder { path: host.data.clone(), error };
    std::fs::create_dir_all(&host.data).map_err(folder)?;
    let issuer = issuer(&host.data.join("tokens.pem"))?;
    let path = host.data.join("store.sqlite");
    let store = Sqlite::open(&path, Bounds::default()).map_err(|error| HostError::Store { path, error })?;
    let token_key = issuer.public().to_pem();
    let hands = Hands {
        judge: super::judge(registry.clone()),
        sign: Box::new(move |grant| issuer.issue(&claims(grant))),
        token_key,
        clock: Box::new(now),
    };
    Ok(Plane::new(Box::new(store), hands, host.config)?)
}

fn claims(grant: &Grant<'_>) -> Claims {
    Claims {
        aud: AUDIENCE.to_owned(),
        tenant: grant.tenant.to_owned(),
        pipeline: grant.pipeline.to_owned(),
        session: grant.session.to_owned(),
        priority: Priority::Interactive,
        iat: grant.issued_at_s,
        exp: grant.expires_at_s,
        lease: Some(LeaseClaim {
            epoch: grant.epoch,
            worker: grant.worker.to_owned(),
            incarnation: grant.incarnation,
            digest: grant.digest.to_owned(),
        }),
    }
}

/// The key in this file, or a fresh one, which is kept there.
fn issuer(path: &Path) -> Result<Issuer, HostError> {
    let unread = |error| HostError::Folder { path: path.to_owned(), error };
    let wrong = |_| HostError::Key { path: path.to_owned() };
    match std::fs::read_to_string(path) {
        Ok(text) => Issuer::from_pem(&text).map_err(wrong),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (issuer, text) = Issuer::fresh().map_err(wrong)?;
            keep_secret(path, &text).map_err(unread)?;
            Ok(issuer)
        }
        Err(error) => Err(unread(error)),
    }
}

/// Nobody has a key yet: one is made, which may do everything, and kept in a file.
fn first_key(plane: &Plane, data: &Path) -> Result<Option<PathBuf>, HostError> {
    if plane.has_keys()? {
        return Ok(None);
    }
    let request = KeyRequest { role: Role::Admin, label: "the first key".to_owned() };
    let made = plane.add_key(&Caller::own(), &request)?;
    let path = data.join("admin.key");
    keep_secret(&path, &(made.key + "\n")).map_err(|error| HostError::Folder { path: path.clone(), error })?;
    Ok(Some(path))
}

/// A new file that is nobody else's to read.
fn keep_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)?.write_all(text.as_bytes())
}

async fn look_after(plane: Arc<Plane>, tell: impl Fn(&str) + Send + 'static) {
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        looks = looks.wrapping_add(1);
        let plane = Arc::clone(&plane);
        let looked = tokio::task::spawn_blocking(move || {
            if looks.is_multiple_of(REFRESH_EVERY) {
                plane.refresh()?;
            }
            plane.bury_the_dead()
        });
        match looked.await {
            Ok(Ok(buried)) => buried.iter().for_each(|name| tell(&format!("the worker {name} is lost"))),
            Ok(Err(refusal)) => tell(&refusal.to_string()),
            Err(_) => return,
        }
    }
}

/// What time it is.
fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
