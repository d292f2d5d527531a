//! A test broker's connections over sockets: who accepts, reads and writes.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use super::house::House;
use super::outlet::Chunk;
use crate::Peer;

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// Plays one connection.
type Script = Box<dyn FnOnce(Peer) + Send>;

/// A listener and its connections.
pub(crate) struct Sockets {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    house: Arc<House>,
    is_stopping: AtomicBool,
    scripts: Mutex<VecDeque<Script>>,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("address", &self.address).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sockets {
    /// Listens on a free port of the loopback address.
    pub(crate) fn listen(house: &Arc<House>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let shared = Arc::new(Shared {
            house: Arc::clone(house),
            is_stopping: AtomicBool::new(false),
            scripts: Mutex::default(),
            streams: Mutex::default(),
            threads: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = spawn("test-broker", move || accept(&listener, &accepting));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has one of the next connections played.
    pub(crate) fn play(&self, script: Script) {
        locked(&self.shared.scripts).push_back(script);
    }

    /// Ends everything. What a script panicked with, if one did, and how many were not played.
    pub(crate) fn stop(&mut self) -> (Option<Box<dyn Any + Send>>, usize) {
        let Some(acceptor) = self.acceptor.take() else { return (None, 0) };
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // The acceptor looks up when somebody connects.
        drop(TcpStream::connect(self.address));
        let mut panic = acceptor.join().err();
        for stream in locked(&self.shared.streams).drain(..).filter_map(|it| it.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads: Vec<JoinHandle<()>> = locked(&self.shared.threads).drain(..).collect();
        for thread in threads {
            panic = panic.or(thread.join().err());
        }
        (panic, locked(&self.shared.scripts).len())
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let (panic, unplayed) = self.stop();
        // A second panic while the first unwinds would abort the whole test program.
        if thread::panicking() {
            return;
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        assert_eq!(unplayed, 0, "nobody has connected to so many scripts");
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread")
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept() else { continue };
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        if shared.house.look(|state| state.is_refusing) {
            abort(&stream);
            continue;
        }
        stream.set_nodelay(true).expect("a socket without delay");
        let script = locked(&shared.scripts).pop_front();
        let thread = match script {
            Some(script) => spawn("script", move || script(Peer::over(stream))),
            None => serve(stream, shared),
        };
        locked(&shared.threads).push(thread);
    }
}

/// Makes closing the connection a reset.
pub(crate) fn abort(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn serve(stream: TcpStream, shared: &Arc<Shared>) -> JoinHandle<()> {
    let stream = Arc::new(stream);
    locked(&shared.streams).push(Arc::downgrade(&stream));
    let house = Arc::clone(&shared.house);
    let number = house.with(|state| state.open());
    spawn("test-broker-connection", move || {
        let (writing, written) = (Arc::clone(&stream), Arc::clone(&house));
        let writer = spawn("test-broker-writer", move || write(&writing, &written, number));
        read(&stream, &house, number);
        house.with(|state| state.close(number));
        // The writer has nothing more to say; a write that is under way fails.
        let _ = stream.shutdown(Shutdown::Read);
        drop(stream);
        let _ = writer.join();
    })
}

fn read(stream: &TcpStream, house: &House, number: u64) {
    let mut stream = stream;
    let mut chunk = vec![0; READ_SIZE];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => house.with(|state| state.receive(number, &chunk[..length])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn write(stream: &TcpStream, house: &House, number: u64) {
    let mut writer = stream;
    while let Some(chunk) = house.next_chunk(number) {
        match chunk {
            Chunk::Bytes(bytes) => {
                if writer.write_all(&bytes).is_err() {
                    return;
                }
            }
            Chunk::End => {
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
            Chunk::Reset => {
                abort(stream);
                // Wakes the reader; the last one who drops the socket resets the connection.
                let _ = stream.shutdown(Shutdown::Read);
                return;
            }
        }
    }
}
