//! Passing a handshake over a stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::handshake::{Failed, Handshake, READ_BYTES};

pub(super) async fn shake<S, H>(
    stream: &mut S,
    handshake: &mut H,
) -> Result<H::Done, Failed<H::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    H: Handshake,
{
    let mut buffer = vec![0; READ_BYTES];
    send(stream, handshake).await?;
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let progress = handshake.on_bytes(buffer.get(..length).unwrap_or_default());
        // A refusal is sent, too, but must not hide its own reason when that fails.
        let sent = send(stream, handshake).await;
        match progress {
            Ok(Some(done)) => return sent.map(|()| done).map_err(Failed::Io),
            Ok(None) => sent?,
            Err(error) => return Err(Failed::Refused(error)),
        }
    }
}

async fn send<S, H>(stream: &mut S, handshake: &mut H) -> io::Result<()>
where
    S: AsyncWrite + Unpin + ?Sized,
    H: Handshake,
{
    let output = handshake.take_output();
    if output.is_empty() {
        return Ok(());
    }
    stream.write_all(&output).await?;
    stream.flush().await
}
