//! A wire between a client and a server, which a test can cut: a small proxy that carries bytes until it is told not to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How a network is gone. In all of them a new connection is made only when it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What is on the wire is lost, and nobody is told: connections of before carry nothing any more.
    Silent,
    /// Both ends are told at once that their connection is gone.
    Reset,
    /// What is on the wire waits, and arrives when the network is back: connections outlive it.
    Held,
}

/// The wire.
pub(crate) struct Wire {
    /// Where a client connects to.
    pub(crate) address: SocketAddr,
    net: Arc<Net>,
}

#[derive(Default)]
struct Net {
    state: Mutex<State>,
    back: Condvar,
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    /// Connections of an earlier generation have lost bytes.
    generation: u32,
    open: Vec<TcpStream>,
}

impl Wire {
    /// A wire to this server.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let net = Arc::new(Net::default());
        let accepting = Arc::clone(&net);
        thread::spawn(move || listener.incoming().flatten().for_each(|client| accepting.connect(client, server)));
        Self { address, net }
    }

    /// Cuts it, for so long.
    pub(crate) fn cut(&self, how: Cut, lasts: Duration) {
        let mut state = self.net.lock();
        state.cut = Some(how);
        if how != Cut::Held {
            state.generation += 1;
        }
        if how == Cut::Reset {
            state.open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
        drop(state);
        let net = Arc::clone(&self.net);
        thread::spawn(move || {
            let state = net.lock();
            // Nobody else mends it.
            let (mut state, _) = net
                .back
                .wait_timeout_while(state, lasts, |state| state.cut.is_some())
                .unwrap_or_else(PoisonError::into_inner);
            state.cut = None;
            net.back.notify_all();
        });
    }
}

impl Net {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the network is gone in a way that `is` says.
    fn wait_while(&self, is: impl Fn(Option<Cut>) -> bool) -> MutexGuard<'_, State> {
        let state = self.lock();
        self.back.wait_while(state, |state| is(state.cut)).unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: SocketAddr) {
        let mut state = self.wait_while(|cut| cut.is_some());
        let server = TcpStream::connect(server).expect("the server listens");
        let shared = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("it is a socket");
            state.open.push(shared(stream));
        }
        for (from, to) in [(shared(&client), shared(&server)), (server, client)] {
            let (net, generation) = (Arc::clone(self), state.generation);
            thread::spawn(move || net.carry(from, to, generation));
        }
    }

    /// Carries bytes until one end has no more.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, generation: u32) {
        let mut bytes = [0; 16 * 1024];
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            let state = self.wait_while(|cut| cut == Some(Cut::Held));
            let is_lost = state.generation != generation;
            drop(state);
            match read {
                0 if is_lost => return,
                0 => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                _ if is_lost => {}
                read => {
                    if to.write_all(&bytes[..read]).is_err() {
                        return;
                    }
                }
            }
        }
    }
}
