//! The other side of a program under test: a listener whose one connection is played by a script.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::Peer;

/// Plays the server's side of one connection on its own thread, to test a client.
///
/// A script that fails also fails the test: when the `Script` is finished or dropped, its panic
/// goes on in the thread that holds it.
///
/// ```
/// use noctule_testkit::{Peer, Script, bytes};
///
/// let server = Script::run(|mut peer| {
///     peer.expect_pingreq();
///     peer.send_bytes(&bytes("d0 00"));
/// });
/// let mut client = Peer::connect(server.address());
/// client.expect_nothing_before_pong();
/// ```
#[derive(Debug)]
pub struct Script {
    address: SocketAddr,
    accepted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Script {
    /// Listens on a free port of the loopback address and plays `script` with whoever connects
    /// first.
    ///
    /// # Panics
    ///
    /// When no port or no thread is to be had.
    pub fn run(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let accepted = Arc::new(AtomicBool::new(false));
        let accepting = Arc::clone(&accepted);
        let thread = thread::Builder::new()
            .name("script".to_owned())
            .spawn(move || {
                let (stream, _) = listener.accept().expect("a connection");
                accepting.store(true, Ordering::SeqCst);
                drop(listener);
                stream.set_nodelay(true).expect("a socket without delay");
                script(Peer::over(stream));
            })
            .expect("a thread");
        Script { address, accepted, thread: Some(thread) }
    }

    /// Where the script listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the script has been played to its end.
    ///
    /// # Panics
    ///
    /// When the script panicked, or when nobody ever connected.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if !self.accepted.load(Ordering::SeqCst) {
            // Nobody may have connected. This connection ends the accept that would otherwise wait
            // for ever; the script sees it closed, and fails. Someone who did connect comes first.
            drop(TcpStream::connect(self.address));
        }
        let result = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = result {
            // A second panic while the first unwinds would abort the whole test program.
            if !thread::panicking() {
                resume_unwind(panic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_script_that_fails_fails_the_test() {
        let server = Script::run(|_| panic!("the script fails"));
        let client = TcpStream::connect(server.address());
        let result = catch_unwind(AssertUnwindSafe(|| server.finish()));
        let panic = result.expect_err("the panic of the script");
        assert_eq!(panic.downcast_ref(), Some(&"the script fails"));
        drop(client);
    }

    #[test]
    fn a_script_that_nobody_connects_to_fails() {
        let server = Script::run(|mut peer| {
            peer.expect_connect();
        });
        assert!(catch_unwind(AssertUnwindSafe(|| server.finish())).is_err());
    }
}
