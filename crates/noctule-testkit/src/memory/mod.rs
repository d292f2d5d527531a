//! Connections to a test broker in memory, for clients on tokio.

mod stream;

use std::fmt;
use std::io;
use std::sync::Arc;

use noctule_transport::{BoxError, BoxedStream, ConnectFuture, Connector};

pub use stream::MemoryStream;

use crate::TestBroker;
use crate::broker::house::House;

/// A noctule-client's way to a test broker in memory: for `ClientBuilder::connector`.
#[derive(Clone)]
pub struct MemoryConnector {
    house: Arc<House>,
}

impl fmt::Debug for MemoryConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConnector").finish_non_exhaustive()
    }
}

impl TestBroker {
    /// What makes a noctule-client connect to this broker in memory.
    pub fn connector(&self) -> MemoryConnector {
        MemoryConnector { house: Arc::clone(&self.house) }
    }

    /// Opens a connection in memory, for any client that speaks over a stream of tokio's.
    ///
    /// # Errors
    ///
    /// When the broker [refuses connections](Self::refuse_connections).
    pub fn connect(&self) -> io::Result<MemoryStream> {
        self.connector().open()
    }
}

impl MemoryConnector {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// When the broker refuses connections.
    pub fn open(&self) -> io::Result<MemoryStream> {
        if self.house.look(|state| state.is_refusing) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(MemoryStream::open(&self.house))
    }
}

impl Connector for MemoryConnector {
    fn connect(&self) -> ConnectFuture<'_> {
        let opened = self.open();
        Box::pin(async move {
            match opened {
                Ok(stream) => Ok(Box::new(stream) as BoxedStream),
                Err(error) => Err(BoxError::from(error)),
            }
        })
    }
}
