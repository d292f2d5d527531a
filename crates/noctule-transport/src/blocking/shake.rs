//! Passing a handshake over a stream that does not block.

use std::io;

use super::attempt::Attempt;
use super::stream::Transport;
use crate::error::TransportError;
use crate::handshake::{Failed, Handshake, READ_BYTES};

/// The outer error is that the attempt is over.
pub(super) fn shake<H: Handshake>(
    stream: &mut dyn Transport,
    handshake: &mut H,
    attempt: &mut Attempt<'_>,
) -> Result<Result<H::Done, Failed<H::Error>>, TransportError> {
    let mut buffer = vec![0; READ_BYTES];
    if let Err(error) = send(stream, handshake, attempt)? {
        return Ok(Err(error.into()));
    }
    loop {
        let length = match attempt.retry(|| stream.read(&mut buffer))? {
            Ok(0) => return Ok(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            Ok(length) => length,
            Err(error) => return Ok(Err(error.into())),
        };
        let progress = handshake.on_bytes(buffer.get(..length).unwrap_or_default());
        // Clients have nothing to say about a refusal, so its reason comes first.
        let progress = match progress {
            Ok(progress) => progress,
            Err(error) => return Ok(Err(Failed::Refused(error))),
        };
        if let Err(error) = send(stream, handshake, attempt)? {
            return Ok(Err(error.into()));
        }
        if let Some(done) = progress {
            return Ok(Ok(done));
        }
    }
}

fn send<H: Handshake>(
    stream: &mut dyn Transport,
    handshake: &mut H,
    attempt: &mut Attempt<'_>,
) -> Result<io::Result<()>, TransportError> {
    let output = handshake.take_output();
    let mut left = output.as_slice();
    while !left.is_empty() {
        match attempt.retry(|| stream.write(left))? {
            Ok(0) => return Ok(Err(io::ErrorKind::WriteZero.into())),
            Ok(length) => left = left.get(length..).unwrap_or_default(),
            Err(error) => return Ok(Err(error)),
        }
    }
    attempt.retry(|| stream.flush())
}
