//! Asking name servers: UDP, and TCP for what does not fit; each has its time, and all together
//! have the attempt's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::error::SrvError;
use super::message::{Query, Record, Reply};
use super::servers::NameServers;
use crate::error::Attempts;

/// Longer than what a server sends over UDP without having been told that it may.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// The records of a name, from the first server that has an answer.
pub(super) fn ask(
    name: &str,
    servers: &NameServers,
    deadline: Option<Instant>,
) -> Result<Vec<Record>, SrvError> {
    let mut failed: Vec<(SocketAddr, io::Error)> = Vec::new();
    for _ in 0..servers.rounds {
        for server in &servers.addresses {
            // A number that nobody can guess, as is the port that the system chooses.
            let query = Query::new(rand::random(), name)?;
            let until = Instant::now() + servers.patience;
            let until = deadline.map_or(until, |deadline| deadline.min(until));
            match ask_one(&query, *server, until) {
                Ok(records) => return Ok(records),
                Err(error) => {
                    // What it said last is enough.
                    failed.retain(|(address, _)| address != server);
                    failed.push((*server, error));
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(lookup(name, failed));
            }
        }
    }
    Err(lookup(name, failed))
}

fn lookup(name: &str, failed: Vec<(SocketAddr, io::Error)>) -> SrvError {
    SrvError::Lookup { name: name.to_owned(), attempts: Attempts(failed) }
}

fn ask_one(query: &Query<'_>, server: SocketAddr, until: Instant) -> io::Result<Vec<Record>> {
    let reply = match over_udp(query, server, until)? {
        Reply::Truncated => over_tcp(query, server, until)?,
        reply => reply,
    };
    match reply {
        Reply::Records(records) => Ok(records),
        Reply::Failed(reason) => Err(io::Error::other(reason)),
        Reply::Truncated | Reply::NotOurs => Err(io::Error::new(
            ErrorKind::InvalidData,
            "the name server's answer over TCP does not fit the question",
        )),
    }
}

fn over_udp(query: &Query<'_>, server: SocketAddr, until: Instant) -> io::Result<Reply> {
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    // From here on it takes datagrams from the server alone.
    socket.connect(server)?;
    socket.send(&query.bytes)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.recv(&mut buffer) {
            Ok(length) => match query.read(buffer.get(..length).unwrap_or_default()) {
                // Somebody may be guessing, so whoever guesses wrong changes nothing.
                Reply::NotOurs => {}
                reply => return Ok(reply),
            },
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn over_tcp(query: &Query<'_>, server: SocketAddr, until: Instant) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    stream.set_write_timeout(Some(left(until)?))?;
    let length = u16::try_from(query.bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &query.bytes].concat())?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, until)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    fill(&mut stream, &mut answer, until)?;
    Ok(query.read(&answer))
}

/// Reads as many bytes as there is room for. However slowly they come, there is no more time.
fn fill(stream: &mut TcpStream, mut room: &mut [u8], until: Instant) -> io::Result<()> {
    while !room.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => room = room.get_mut(length..).unwrap_or_default(),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether waiting was only interrupted, or is over by the clock, which is asked then.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The time that is left, never zero.
fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => {
            Err(io::Error::new(ErrorKind::TimedOut, "the name server gives no answer in time"))
        }
        left => Ok(left),
    }
}
