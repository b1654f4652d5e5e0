//! A TCP proxy between a store and the server that breaks connections on command.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What happens to the next commit that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut, and the server never sees the commit.
    CutBefore,
    /// The server commits, and the connection is cut before its answer arrives.
    CutAfter,
    /// The commit is not passed on, and nothing is closed.
    HangBefore,
    /// The server commits, its answer is not passed on, and nothing is closed.
    HangAfter,
}

/// A direction of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// The directions in which nothing passes for now, and the delay of what passes to the server.
#[derive(Default)]
struct Traffic {
    hangs: Vec<Direction>,
    delay: Duration,
}

#[derive(Default)]
struct Connections {
    /// Whether new ones are refused.
    are_refused: bool,
    streams: Vec<TcpStream>,
}

impl Connections {
    fn cut(&mut self) {
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The message that commits.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

struct State {
    fault: Mutex<Option<Fault>>,
    accepted: AtomicUsize,
    connections: Mutex<Connections>,
    traffic: Mutex<Traffic>,
    traffic_changed: Condvar,
}

impl State {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().expect("no thread panicked")
    }

    /// Waits until what goes in this direction may pass.
    fn wait(&self, direction: Direction) {
        let traffic = self.traffic.lock().expect("no thread panicked");
        let delay = if direction == Direction::ToServer { traffic.delay } else { Duration::ZERO };
        let hangs = |traffic: &mut Traffic| traffic.hangs.contains(&direction);
        let traffic = self.traffic_changed.wait_while(traffic, hangs).expect("no thread panicked");
        if !delay.is_zero() {
            // Nothing signals this, so it is a pause.
            drop(self.traffic_changed.wait_timeout_while(traffic, delay, |_| true));
        }
    }
}

/// A proxy. It ends with the test process.
pub struct Proxy {
    /// The port on which it listens.
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Starts a proxy to a server on this port of this machine.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let own = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            fault: Mutex::default(),
            accepted: AtomicUsize::new(0),
            connections: Mutex::default(),
            traffic: Mutex::default(),
            traffic_changed: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if shared.connections().are_refused {
                    continue;
                }
                shared.accepted.fetch_add(1, Ordering::AcqRel);
                let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else {
                    continue;
                };
                relay(client, server, &shared);
            }
        });
        Self { port: own, state }
    }

    /// Sets what happens to the next commit.
    pub fn fail_next_commit(&self, fault: Fault) {
        *self.state.fault.lock().expect("no thread panicked") = Some(fault);
    }

    /// Returns whether the fault has happened.
    pub fn has_failed(&self) -> bool {
        self.state.fault.lock().expect("no thread panicked").is_none()
    }

    /// Cuts all connections, and refuses new ones until [`up`](Self::up).
    pub fn down(&self) {
        let mut connections = self.state.connections();
        connections.are_refused = true;
        connections.cut();
    }

    /// Accepts connections again.
    pub fn up(&self) {
        self.state.connections().are_refused = false;
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.state.connections().cut();
    }

    /// Lets nothing pass in one direction, on all connections and new ones, until [`flow`](Self::flow).
    /// Nothing is closed or lost, as in a network without a route.
    pub fn hang(&self, direction: Direction) {
        self.state.traffic.lock().expect("no thread panicked").hangs.push(direction);
    }

    /// Lets everything pass again, also what was held back.
    pub fn flow(&self) {
        self.state.traffic.lock().expect("no thread panicked").hangs.clear();
        self.state.traffic_changed.notify_all();
    }

    /// Delays everything that goes to the server by this time from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.traffic.lock().expect("no thread panicked").delay = delay;
    }

    /// Returns the number of connections so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::Acquire)
    }
}

/// Passes everything on between two streams.
fn relay(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    let copies = [&client, &server].map(|stream| stream.try_clone().expect("it is open"));
    let mut connections = state.connections();
    // It may have been accepted just before the others were cut.
    if connections.are_refused {
        return;
    }
    connections.streams.extend(copies);
    drop(connections);
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("it is a TCP stream");
    }
    // Whether answers are held back: to be cut off, or for ever.
    let (cuts, hangs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (from_client, mut to_server) =
        (client.try_clone().expect("it is open"), server.try_clone().expect("it is open"));
    let answers = Arc::clone(state);
    let (state, cuts_answer, hangs_answer) = (Arc::clone(state), Arc::clone(&cuts), Arc::clone(&hangs));
    thread::spawn(move || {
        copy(from_client, |bytes| {
            state.wait(Direction::ToServer);
            let Some(at) = bytes.windows(COMMIT.len()).position(|window| window == COMMIT) else {
                return to_server.write_all(bytes).is_ok();
            };
            match state.fault.lock().expect("no thread panicked").take() {
                None => to_server.write_all(bytes).is_ok(),
                Some(Fault::CutBefore) => to_server.write_all(&bytes[..at]).is_err(),
                Some(Fault::HangBefore) => true,
                Some(fault) => {
                    let flag = if fault == Fault::CutAfter { &cuts_answer } else { &hangs_answer };
                    flag.store(true, Ordering::Release);
                    to_server.write_all(bytes).is_ok()
                }
            }
        });
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let mut to_client = client;
    thread::spawn(move || {
        copy(server, |bytes| {
            answers.wait(Direction::ToClient);
            if hangs.load(Ordering::Acquire) {
                return true;
            }
            !cuts.load(Ordering::Acquire) && to_client.write_all(bytes).is_ok()
        });
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// Passes what arrives to `write`, until it returns false or the stream ends.
fn copy(mut from: TcpStream, mut write: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !write(&buffer[..length]) {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}
