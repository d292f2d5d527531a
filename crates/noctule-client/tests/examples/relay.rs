//! A way to a server that can be cut, and that can fall silent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Default)]
struct State {
    sockets: Mutex<Vec<TcpStream>>,
    is_frozen: AtomicBool,
    is_over: AtomicBool,
}

impl State {
    fn cut(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Listens until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

impl Relay {
    /// A way to the server of a URL.
    pub(crate) fn to(url: &str) -> Self {
        let server: SocketAddr = url.trim_start_matches("mqtt://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(SeqCst) {
                    break;
                }
                let server = TcpStream::connect(server).unwrap();
                let both = [(&client, &server), (&server, &client)];
                let both = both.map(|(from, to)| (from.try_clone(), to.try_clone()));
                // Whoever has heard from the server may cut the line already.
                shared.sockets.lock().unwrap().extend([client, server]);
                for (from, to) in both {
                    let (from, to, shared) = (from.unwrap(), to.unwrap(), Arc::clone(&shared));
                    thread::spawn(move || copy(from, to, &shared));
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.state.cut();
    }

    /// Lets nothing through any more.
    pub(crate) fn freeze(&self) {
        self.state.is_frozen.store(true, SeqCst);
    }
}

/// Copies until one side ends, and then ends the other one; a line that is frozen does not even say
/// that.
fn copy(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut bytes = [0; 4_096];
    while let Some(count) = from.read(&mut bytes).ok().filter(|count| *count > 0) {
        if !state.is_frozen.load(SeqCst) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    if !state.is_frozen.load(SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        self.state.cut();
        // It looks when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}
