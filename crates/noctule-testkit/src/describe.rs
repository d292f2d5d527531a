//! One line for each packet, as the transcript shows it.

use std::fmt::Write;

use noctule_packet::{Description, Packet};

/// So much of bytes that are no packet is shown.
const SHOWN_BYTES: usize = 64;

/// The packet in one line: its name and what is not as it always is. It shows neither passwords nor
/// authentication data: transcripts end in logs.
pub(crate) fn describe(packet: &Packet<'_>) -> String {
    Description::of(packet).show_user_name(true).show_payloads(true).to_string()
}

/// Bytes in hexadecimal, the first ones if there are many.
pub(crate) fn describe_bytes(bytes: &[u8]) -> String {
    let mut out = format!("{} bytes:", bytes.len());
    for byte in bytes.iter().take(SHOWN_BYTES) {
        let _ = write!(out, " {byte:02x}");
    }
    if bytes.len() > SHOWN_BYTES {
        out.push_str(" …");
    }
    out
}
