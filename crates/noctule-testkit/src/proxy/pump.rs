//! Carries bytes between a client and its server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::lane::{Faults, Lane, Step};
use super::{Cut, Toward};

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;
/// After this time a write that is blocked looks whether its connection was cut.
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);
/// A throttled connection gets its bytes in so many portions a second.
const PORTIONS: u64 = 50;

/// What the test has asked for, and what has happened.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) target: SocketAddr,
    pub(super) faults: Faults,
    /// Toward the server and toward the client.
    pub(super) is_black_hole: [bool; 2],
    pub(super) is_refusing: bool,
    pub(super) is_stopping: bool,
    pub(super) delay: Duration,
    pub(super) bytes_per_second: Option<u64>,
    /// How many connections were taken.
    pub(super) accepted: u64,
    /// How many bytes were passed on, toward the server and toward the client.
    pub(super) forwarded: [u64; 2],
    links: Vec<Weak<Link>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the proxy's handle and its threads share.
#[derive(Debug)]
pub(super) struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
}

/// One connection: both sockets. The last pump that drops it closes them.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    is_over: AtomicBool,
}

impl Link {
    /// Ends both sides; the pumps see it.
    fn cut(&self, cut: Cut) {
        self.is_over.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            let _ = match cut {
                Cut::End => stream.shutdown(Shutdown::Both),
                Cut::Reset => {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                    // Says nothing to the other side, and ends a read that waits.
                    stream.shutdown(Shutdown::Read)
                }
            };
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

impl Shared {
    pub(super) fn new(target: SocketAddr) -> Self {
        let control = Control {
            target,
            faults: Faults::default(),
            is_black_hole: [false; 2],
            is_refusing: false,
            is_stopping: false,
            delay: Duration::ZERO,
            bytes_per_second: None,
            accepted: 0,
            forwarded: [0; 2],
            links: Vec::new(),
            threads: Vec::new(),
        };
        Self { control: Mutex::new(control), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and has everybody look.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Control) -> R) -> R {
        let result = act(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Cuts all connections. How many they were.
    pub(super) fn cut_all(&self, cut: Cut) -> usize {
        self.with(|control| {
            let links: Vec<Arc<Link>> =
                control.links.drain(..).filter_map(|it| it.upgrade()).collect();
            links.iter().filter(|link| !link.is_over()).inspect(|link| link.cut(cut)).count()
        })
    }

    /// How many connections there are.
    pub(super) fn open(&self) -> usize {
        let links = &self.lock().links;
        links.iter().filter_map(Weak::upgrade).filter(|link| !link.is_over()).count()
    }

    /// Waits until `is_it` holds, but not longer than so long. Whether it does.
    pub(super) fn wait(&self, within: Duration, is_it: impl Fn(&Control) -> bool) -> bool {
        let waited =
            self.changed.wait_timeout_while(self.lock(), within, |control| !is_it(control));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Ends everything, and waits for it.
    pub(super) fn stop(&self) {
        self.with(|control| control.is_stopping = true);
        self.cut_all(Cut::End);
        let threads: Vec<JoinHandle<()>> = self.with(|control| control.threads.drain(..).collect());
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// Waits as long as nothing may arrive.
    fn gate(&self, link: &Link, toward: Toward) {
        let mut control = self.lock();
        while control.is_black_hole[toward as usize] && !control.is_stopping && !link.is_over() {
            control = self.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a time, unless the connection is cut meanwhile.
    fn pause(&self, link: &Link, pause: Duration) {
        let end = Instant::now() + pause;
        let mut control = self.lock();
        while !control.is_stopping && !link.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(control, left);
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Takes connections until the proxy is stopped.
pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept() else { continue };
        let (is_stopping, is_refusing, target) = {
            let control = shared.lock();
            (control.is_stopping, control.is_refusing, control.target)
        };
        if is_stopping {
            return;
        }
        let server = match is_refusing {
            true => Err(ErrorKind::ConnectionRefused.into()),
            false => TcpStream::connect(target),
        };
        match server.and_then(|server| link(client.try_clone()?, server)) {
            Ok(link) => start(Arc::new(link), shared),
            Err(_) => {
                let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            }
        }
    }
}

fn link(client: TcpStream, server: TcpStream) -> io::Result<Link> {
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    }
    Ok(Link { client, server, is_over: AtomicBool::new(false) })
}

fn start(link: Arc<Link>, shared: &Arc<Shared>) {
    shared.with(|control| {
        control.accepted += 1;
        // The system keeps what a thread has used until its handle is dropped.
        control.threads.retain(|thread| !thread.is_finished());
        control.links.retain(|link| link.strong_count() > 0);
        control.links.push(Arc::downgrade(&link));
        for toward in [Toward::Server, Toward::Client] {
            let lane = Lane::new(toward, control.accepted);
            let (link, shared) = (Arc::clone(&link), Arc::clone(shared));
            let thread = thread::Builder::new()
                .name("fault-proxy-pump".to_owned())
                .spawn(move || pump(&link, &shared, toward, lane))
                .expect("a thread");
            control.threads.push(thread);
        }
    });
}

fn pump(link: &Link, shared: &Shared, toward: Toward, mut lane: Lane) {
    let (mut from, to) = match toward {
        Toward::Server => (&link.client, &link.server),
        Toward::Client => (&link.server, &link.client),
    };
    let mut chunk = vec![0; READ_SIZE];
    while !link.is_over() {
        let length = match from.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A reset goes through as a reset.
            Err(_) => {
                shared.gate(link, toward);
                return link.cut(Cut::Reset);
            }
        };
        let read_at = Instant::now();
        shared.gate(link, toward);
        if link.is_over() {
            return;
        }
        if length == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let bytes = &mut chunk[..length];
        let (steps, delay) =
            shared.with(|control| (lane.pass(&mut control.faults, bytes), control.delay));
        shared.pause(link, delay.saturating_sub(read_at.elapsed()));
        let mut written = 0;
        for step in steps {
            match step {
                Step::Write(end) => {
                    if write(link, shared, toward, to, &bytes[written..end]).is_err() {
                        return link.cut(Cut::Reset);
                    }
                    written = end;
                }
                Step::Cut(cut) => {
                    link.cut(cut);
                    shared.with(|_| {});
                    return;
                }
            }
        }
    }
}

fn write(
    link: &Link,
    shared: &Shared,
    toward: Toward,
    mut to: &TcpStream,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() && !link.is_over() {
        shared.gate(link, toward);
        let rate = shared.lock().bytes_per_second;
        let portion = rate.map_or(bytes.len(), |rate| {
            let portion = usize::try_from(rate / PORTIONS).unwrap_or(usize::MAX);
            portion.clamp(1, bytes.len())
        });
        let written = match to.write(&bytes[..portion]) {
            Ok(written) => written,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => continue,
                _ => return Err(error),
            },
        };
        bytes = &bytes[written..];
        shared.with(|control| control.forwarded[toward as usize] += written as u64);
        if let Some(rate) = rate {
            shared.pause(link, Duration::from_secs_f64(written as f64 / rate.max(1) as f64));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_over_leave_nothing_behind() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = crate::FaultProxy::to(server.local_addr().unwrap());
        let mut left = usize::MAX;
        for number in 0..500 {
            let client = TcpStream::connect(proxy.address()).unwrap();
            // Both ends are gone at once, and the threads between them soon.
            drop((server.accept().unwrap(), client));
            left = proxy.shared.with(|control| control.threads.len().max(control.links.len()));
            if number >= 20 && left <= 20 {
                break;
            }
        }
        assert!(left <= 20, "{left} are left");
    }
}
