//! A little name server on the loopback, which answers what its test says, over UDP and TCP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;

/// Priority, weight, port, target.
pub(crate) type Srv<'a> = (u16, u16, u16, &'a str);

const HEADER_BYTES: usize = 12;

/// Starts a server that answers with every message that `answer` has for a question; it is told
/// whether that came over TCP. The server is gone with the test's process.
pub(crate) fn name_server(
    answer: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Somebody else may have the same port for TCP.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let answer = Arc::new(answer);
    let over_udp = Arc::clone(&answer);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, asker)) = udp.recv_from(&mut buffer) {
            for message in over_udp(&buffer[..length], false) {
                udp.send_to(&message, asker).unwrap();
            }
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            for message in answer(&query, true) {
                let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                let _ = stream.write_all(&[&length[..], &message].concat());
            }
        }
    });
    address
}

/// A server that knows these records of every name.
pub(crate) fn name_server_with(records: &[Srv<'static>]) -> SocketAddr {
    let records = records.to_vec();
    name_server(move |query, _| vec![answer(query, &records)])
}

/// The answer to a question, with these records.
pub(crate) fn answer(query: &[u8], records: &[Srv<'_>]) -> Vec<u8> {
    let mut message = header(query, 0x8180, records.len());
    message.extend(&query[HEADER_BYTES..]);
    for (priority, weight, port, target) in records {
        let mut data: Vec<u8> =
            [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
        for label in target.split('.').filter(|label| !label.is_empty()) {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend(label.as_bytes());
        }
        data.push(0);
        // The question's name, SRV, IN, a minute.
        message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    message
}

/// An answer without records, for the reason of this code.
pub(crate) fn refusal(query: &[u8], code: u16) -> Vec<u8> {
    let mut message = header(query, 0x8180 | code, 0);
    message.extend(&query[HEADER_BYTES..]);
    message
}

/// An answer that did not fit.
pub(crate) fn truncated(query: &[u8]) -> Vec<u8> {
    refusal(query, 0x0200)
}

/// The name that is asked for.
pub(crate) fn asked_name(query: &[u8]) -> String {
    let (mut name, mut rest) = (Vec::new(), &query[HEADER_BYTES..]);
    while rest[0] > 0 {
        let (label, after) = rest[1..].split_at(rest[0].into());
        name.push(String::from_utf8(label.to_vec()).unwrap());
        rest = after;
    }
    name.join(".")
}

fn header(query: &[u8], flags: u16, records: usize) -> Vec<u8> {
    let records = u16::try_from(records).unwrap().to_be_bytes();
    [&query[..2], &flags.to_be_bytes(), &[0, 1], &records, &[0; 4]].concat()
}
