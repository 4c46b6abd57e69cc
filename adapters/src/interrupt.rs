//! Being told to end: Ctrl-C and SIGTERM. A hangup is left to the system, so that `nohup` works; engines end when their
//! standard input does.
//!
//! The first signal asks. Whoever has said that it will end properly ([`Interrupt::ending`]) has [`GRACE`] for what it
//! does: a call ends its session and writes its files. Then every wait for an engine is over, and at the latest after
//! [`MOST`], or with a second signal, the program ends where it stands: its engines are killed, and what it wrote is
//! whole as far as it goes. Where nobody has said so, the first signal ends the program.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, never};
use tokio_util::sync::CancellationToken;

use crate::orphans;

/// How long an engine may take to answer when a call is to end.
pub const GRACE: Duration = Duration::from_millis(400);
/// How long the program may take to end, in all.
pub const MOST: Duration = Duration::from_millis(800);

const _: () = assert!(GRACE.as_millis() < MOST.as_millis());

/// Disconnected when nothing is to be waited for any more. Signals are the process's, and so is this.
static OVER: OnceLock<Receiver<Infallible>> = OnceLock::new();

/// Whether somebody wants the program to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    signal: AtomicI32,
    ending: AtomicUsize,
    asked: CancellationToken,
    over: CancellationToken,
    /// How long ending may take, in milliseconds, where that is longer than [`MOST`].
    may_take_ms: AtomicU64,
}

impl Interrupt {
    /// The signal that came, if one has.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.signal.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }

    /// Whether a signal has come.
    pub fn is_raised(&self) -> bool {
        self.signal().is_some()
    }

    /// As if this signal had come.
    pub fn raise(&self, signal: i32) {
        self.0.signal.store(signal, Ordering::Release);
        self.0.asked.cancel();
    }

    /// Cancelled with the first signal.
    pub fn asked(&self) -> &CancellationToken {
        &self.0.asked
    }

    /// Ending may take so long: a server lets its calls come to an end. A second signal ends it all the same.
    pub fn may_take(&self, time: Duration) {
        self.0.may_take_ms.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Says that whoever holds the answer ends properly when a signal comes, and soon.
    pub fn ending(&self) -> Ending {
        self.0.ending.fetch_add(1, Ordering::AcqRel);
        Ending(self.clone())
    }

    /// Cancelled when the grace has passed: nothing is to be waited for any more.
    pub fn over(&self) -> &CancellationToken {
        &self.0.over
    }
}

/// As long as this is there, the first signal only asks.
#[derive(Debug)]
pub struct Ending(Interrupt);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.0.ending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a wait for an engine also waits for: disconnected when the grace has passed.
pub(crate) fn over() -> Receiver<Infallible> {
    OVER.get().cloned().unwrap_or_else(never)
}

/// Watches for signals, for the rest of the process. Where there are none, nothing ever comes.
///
/// # Errors
/// When the system refuses, or somebody watches already.
#[cfg(unix)]
pub fn watch() -> std::io::Result<Interrupt> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let (sender, over) = crossbeam_channel::bounded(0);
    OVER.set(over).map_err(|_| std::io::Error::from(std::io::ErrorKind::AlreadyExists))?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let interrupt = Interrupt::default();
    let watched = interrupt.clone();
    std::thread::spawn(move || {
        let mut sender = Some(sender);
        for signal in signals.forever() {
            match sender.take() {
                Some(sender) if watched.0.ending.load(Ordering::Acquire) > 0 => {
                    watched.raise(signal);
                    let watched = watched.clone();
                    std::thread::spawn(move || give_grace(&watched, sender, signal));
                }
                _ => end_at_once(signal),
            }
        }
    });
    Ok(interrupt)
}

/// Watches for nothing: there are no signals here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn watch() -> std::io::Result<Interrupt> {
    Ok(Interrupt::default())
}

#[cfg(unix)]
fn give_grace(interrupt: &Interrupt, over: crossbeam_channel::Sender<Infallible>, signal: i32) {
    let most = MOST.max(Duration::from_millis(interrupt.0.may_take_ms.load(Ordering::Acquire)));
    std::thread::sleep(most.saturating_sub(MOST.saturating_sub(GRACE)));
    interrupt.over().cancel();
    drop(over);
    std::thread::sleep(MOST.saturating_sub(GRACE));
    end_at_once(signal);
}

#[cfg(unix)]
fn end_at_once(signal: i32) -> ! {
    orphans::end();
    std::process::exit(exit_code(signal).into())
}

/// By the shells' custom: 130 for Ctrl-C, 143 for SIGTERM.
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| 128 | signal)
}
