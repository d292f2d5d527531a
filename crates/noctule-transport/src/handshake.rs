//! Handshakes without a socket: bytes in, bytes out, so that tokio and a plain thread share them.

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
