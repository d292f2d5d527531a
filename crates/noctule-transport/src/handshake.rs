//! Handshakes without a socket: bytes in, bytes out, so that tokio and a plain thread share them.

use std::io;

use crate::error::TransportError;
use crate::stage::Stage;

/// One side of a conversation that comes before the stream proper.
pub(crate) trait Handshake {
    /// What is known once it has succeeded.
    type Done;
    /// Why it failed.
    type Error;

    /// Takes what has to be sent now. It is asked at the start and after each [`on_bytes`], also
    /// after one that ended the handshake, well or not.
    ///
    /// [`on_bytes`]: Self::on_bytes
    fn take_output(&mut self) -> Vec<u8>;

    /// Takes what has arrived.
    fn on_bytes(&mut self, input: &[u8]) -> Result<Option<Self::Done>, Self::Error>;
}

/// How much is read at once during a handshake.
pub(crate) const READ_BYTES: usize = 2048;

/// Why a handshake did not pass.
#[derive(Debug)]
pub(crate) enum Failed<E> {
    /// The connection broke.
    Io(io::Error),
    /// The peer refused, or does not keep to the protocol.
    Refused(E),
}

impl<E> From<io::Error> for Failed<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E> Failed<E> {
    /// The error for the user, given the stage and what to make of a refusal.
    pub(crate) fn into_error(
        self,
        stage: Stage,
        refusal: impl FnOnce(E) -> TransportError,
    ) -> TransportError {
        match self {
            Self::Io(source) => TransportError::Broken { stage, source },
            Self::Refused(error) => refusal(error),
        }
    }
}
