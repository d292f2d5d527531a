//! TCP connections to whichever address of a host answers first.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Instant;

use mio::net::TcpStream;

use super::aside;
use super::attempt::Attempt;
use crate::error::{Attempts, TransportError};
use crate::race::{ATTEMPT_DELAY, interleave};
use crate::socket::SocketOptions;
use crate::stage::Stage;
use crate::url::authority;

/// The host's addresses, in the order in which they are to be tried.
pub(super) fn resolve(
    host: &str,
    port: u16,
    attempt: &mut Attempt<'_>,
) -> Result<VecDeque<SocketAddr>, TransportError> {
    attempt.enter(Stage::Resolving);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(VecDeque::from([SocketAddr::new(ip, port)]));
    }
    let place = (host.to_owned(), port);
    let resolved =
        aside::ask(attempt, move || place.to_socket_addrs().map(Iterator::collect::<Vec<_>>))?;
    let failed = |source| TransportError::Resolve { host: host.to_owned(), source };
    resolved.and_then(|found| found).map(interleave).map_err(failed)
}

pub(super) fn connect(
    host: &str,
    port: u16,
    options: &SocketOptions,
    attempt: &mut Attempt<'_>,
) -> Result<TcpStream, TransportError> {
    let mut addresses = resolve(host, port, attempt)?;
    addresses.retain(|address| options.allows(address));
    if addresses.is_empty() {
        return Err(TransportError::NoAddress { host: host.to_owned() });
    }
    attempt.enter(Stage::Connecting);
    race(addresses, options, attempt)?.map_err(|attempts| {
        let authority = authority(host, port);
        TransportError::Connect { authority, attempts }
    })
}

/// Tries the addresses in order, each some time after the one before it or as soon as that has
/// failed, and returns the first connection. The others are given up. The outer error is that the
/// whole attempt is over.
fn race(
    mut addresses: VecDeque<SocketAddr>,
    options: &SocketOptions,
    attempt: &mut Attempt<'_>,
) -> Result<Result<TcpStream, Attempts>, TransportError> {
    let mut race = Race { running: Vec::new(), failed: Attempts::default() };
    let mut next_start = Instant::now();
    loop {
        let is_time = race.running.is_empty() || Instant::now() >= next_start;
        if is_time && let Some(address) = addresses.pop_front() {
            race.start(address, options, attempt);
            next_start = Instant::now() + ATTEMPT_DELAY;
        }
        let failures_before = race.failed.0.len();
        if let Some(stream) = race.winner(attempt)? {
            return Ok(Ok(stream));
        }
        if race.running.is_empty() && addresses.is_empty() {
            return Ok(Err(race.failed));
        }
        if race.failed.0.len() > failures_before {
            // The next address need not wait for one that has failed.
            next_start = Instant::now();
        } else if !race.running.is_empty() {
            attempt.wait((!addresses.is_empty()).then_some(next_start))?;
        }
    }
}

/// The attempts that are under way.
struct Race {
    running: Vec<(SocketAddr, TcpStream)>,
    failed: Attempts,
}

impl Race {
    fn start(&mut self, address: SocketAddr, options: &SocketOptions, attempt: &mut Attempt<'_>) {
        let started = begin(address, options).and_then(|mut stream| {
            attempt.waiter.register(&mut stream)?;
            Ok(stream)
        });
        match started {
            Ok(stream) => self.running.push((address, stream)),
            Err(error) => self.failed.0.push((address, error)),
        }
    }

    /// The first attempt that has succeeded. Those that have failed are taken out.
    fn winner(&mut self, attempt: &mut Attempt<'_>) -> io::Result<Option<TcpStream>> {
        let mut index = 0;
        while let Some((_, stream)) = self.running.get(index) {
            match is_connected(stream) {
                Ok(true) => {
                    let (_, mut stream) = self.running.swap_remove(index);
                    attempt.waiter.deregister(&mut stream)?;
                    return Ok(Some(stream));
                }
                Ok(false) => index += 1,
                Err(error) => {
                    let (address, _) = self.running.remove(index);
                    self.failed.0.push((address, error));
                }
            }
        }
        Ok(None)
    }
}

fn begin(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpStream> {
    let socket = options.open(address)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

#[cfg(unix)]
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

#[cfg(not(unix))]
fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::blocking::Waiter;
    use crate::stage::Progress;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address where connections neither succeed nor fail, as its queue is full; and what keeps
    /// it so.
    fn hanging() -> (Vec<Socket>, SocketAddr) {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&anywhere.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut kept = vec![socket];
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            kept.push(filler);
        }
        (kept, address)
    }

    fn run(addresses: &[SocketAddr]) -> Result<Result<TcpStream, Attempts>, TransportError> {
        let (mut waiter, mut never, progress) = (Waiter::new().unwrap(), || false, Progress::new());
        let limit = Duration::from_secs(5);
        let mut attempt = Attempt::new(&mut waiter, &mut never, &progress, limit);
        race(addresses.iter().copied().collect(), &SocketOptions::default(), &mut attempt)
    }

    #[test]
    fn an_address_that_hangs_holds_nobody_up() {
        let (_kept, hanging) = hanging();
        let (_listener, good) = listener();
        let start = Instant::now();
        let stream = run(&[hanging, good]).unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(start.elapsed() >= ATTEMPT_DELAY);
    }

    #[test]
    fn after_a_failure_the_next_is_tried_at_once() {
        let closed = listener().1;
        let (_listener, good) = listener();
        let stream = run(&[closed, good]).unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[test]
    fn all_failures_are_told() {
        let closed = [listener().1, listener().1];
        let failed = run(&closed).unwrap().unwrap_err();
        let failed: Vec<_> = failed.0.iter().map(|(address, _)| *address).collect();
        assert_eq!(failed, closed);
    }

    #[test]
    fn the_waker_and_the_deadline_end_an_attempt() {
        let (_kept, hanging) = hanging();
        let mut waiter = Waiter::new().unwrap();
        let progress = Progress::new();
        progress.enter(Stage::Connecting);
        waiter.waker().wake().unwrap();
        let mut questions = 0;
        let mut is_cancelled = || {
            questions += 1;
            questions > 1
        };
        let limit = Duration::from_secs(60);
        let mut attempt = Attempt::new(&mut waiter, &mut is_cancelled, &progress, limit);
        let ended = race([hanging].into(), &SocketOptions::default(), &mut attempt);
        assert!(matches!(ended, Err(TransportError::Cancelled { stage: Stage::Connecting })));
        let (limit, mut never) = (Duration::from_millis(50), || false);
        let mut attempt = Attempt::new(&mut waiter, &mut never, &progress, limit);
        let ended = race([hanging].into(), &SocketOptions::default(), &mut attempt);
        assert!(matches!(ended, Err(TransportError::TimedOut { .. })), "{ended:?}");
    }
}
