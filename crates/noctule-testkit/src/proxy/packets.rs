//! Where packets begin and end in a stream, without looking into them.

use noctule_packet::PacketType;

/// Follows a stream byte by byte.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// The packet whose header is being read.
    header: Option<Header>,
    /// How many bytes of the packet are still to come.
    body_left: u64,
}

#[derive(Debug)]
struct Header {
    packet_type: Option<PacketType>,
    start: u64,
    bytes: u64,
    length: u64,
}

/// A packet whose header has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// `None` if the specification has no such type.
    pub(super) packet_type: Option<PacketType>,
    /// Where it begins in the stream.
    pub(super) start: u64,
    /// With its header.
    pub(super) length: u64,
}

impl Seen {
    /// A place within the packet: its middle, and not its beginning.
    pub(super) fn middle(self) -> u64 {
        self.start + (self.length / 2).max(1)
    }
}

impl Packets {
    /// Passes the byte at this place in the stream. The packet whose header it completes.
    pub(super) fn pass(&mut self, at: u64, byte: u8) -> Option<Seen> {
        if self.body_left > 0 {
            self.body_left -= 1;
            return None;
        }
        let Some(header) = &mut self.header else {
            let packet_type = PacketType::from_value(byte >> 4);
            self.header = Some(Header { packet_type, start: at, bytes: 1, length: 0 });
            return None;
        };
        header.length |= u64::from(byte & 0x7F) << (7 * (header.bytes - 1));
        header.bytes += 1;
        // What goes on for longer is no length; wherever it is cut will do.
        if byte & 0x80 != 0 && header.bytes < 5 {
            return None;
        }
        let seen = Seen {
            packet_type: header.packet_type,
            start: header.start,
            length: header.bytes + header.length,
        };
        self.body_left = header.length;
        self.header = None;
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_bytes;

    #[test]
    fn packets_are_found_wherever_they_begin() {
        let mut stream = packet_bytes(0xC0, "");
        let long = packet_bytes(0x30, &format!("s't' 00 '{}'", "x".repeat(300)));
        stream.extend(&long);
        stream.extend(packet_bytes(0x40, "0001"));
        let mut packets = Packets::default();
        let seen: Vec<Seen> =
            (0..).zip(&stream).filter_map(|(at, byte)| packets.pass(at, *byte)).collect();
        let length = long.len() as u64;
        let expected = [
            (PacketType::Pingreq, 0, 2),
            (PacketType::Publish, 2, length),
            (PacketType::Puback, 2 + length, 4),
        ];
        let expected =
            expected.map(|(of, start, length)| Seen { packet_type: Some(of), start, length });
        assert_eq!(seen, expected);
        assert_eq!(seen[0].middle(), 1);
        assert_eq!(seen[2].middle(), 2 + length + 2);
    }
}
