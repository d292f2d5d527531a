//! A client on a runtime that the program brings.

use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use noctule_transport::{BoxError, Scheme, Url};

use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::error::ClientBuildError;
use crate::mode::Async;
use crate::task::{Own, run};

/// What a client needs of a runtime: streams, and a timer; see [`ClientBuilder::drive`].
///
/// [`ClientBuilder::drive`]: crate::generic::ClientBuilder::drive
pub trait Runtime: Send + Sync + 'static {
    /// Bytes both ways, in order and without loss. When the client has said its last word it is
    /// closed, which may take a second, and dropped in any case.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream to the server of a URL, as the URL says: `mqtts://` wants TLS and trust in
    /// the server's certificate, `ws://` a WebSocket with the bytes in binary frames. It may be a
    /// URL that a server has sent the client to, if
    /// [`ReconnectSettings`](crate::ReconnectSettings) allow that.
    ///
    /// It is called for every attempt. An error is a failed attempt, and so is what takes longer
    /// than `connect_timeout`: the future is dropped then.
    fn open(&self, url: &Url) -> impl Future<Output = Result<Self::Stream, BoxError>> + Send;

    /// The URLs that [`open`](Self::open) does justice to; a client with another one is not built,
    /// lest a password travels without the TLS that its URL asks for. By default `mqtt://` alone.
    fn schemes(&self) -> &[Scheme] {
        &[Scheme::Mqtt]
    }

    /// Waits for a time, which is a day at most.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Runs something that may take some milliseconds: a step of a method of enhanced
    /// authentication. By default it keeps the client's connection waiting so long; a runtime that
    /// has threads for this takes one of them.
    fn unblock<T: Send + 'static>(
        &self,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        async { step() }
    }
}

impl ClientBuilder<Async> {
    /// The client, and the future that keeps its connection and reconnects, for any runtime: it is
    /// to be spawned, or polled together with others. When it is dropped before it is ready the
    /// client has ended, with [`StopReason::Abandoned`](crate::StopReason::Abandoned).
    ///
    /// Everything else is as with [`start`](Self::start); the store, if there is one, has a thread.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use async_net::TcpStream;
    /// use noctule_client::transport::{BoxError, Url};
    /// use noctule_client::{Client, Runtime};
    ///
    /// struct Smol;
    ///
    /// impl Runtime for Smol {
    ///     type Stream = TcpStream;
    ///
    ///     async fn open(&self, url: &Url) -> Result<TcpStream, BoxError> {
    ///         let host = url.host().ok_or("a host is missing")?;
    ///         Ok(TcpStream::connect((host, url.port().unwrap_or(1883))).await?)
    ///     }
    ///
    ///     async fn sleep(&self, time: Duration) {
    ///         async_io::Timer::after(time).await;
    ///     }
    /// }
    ///
    /// let executor = async_executor::Executor::new();
    /// let (client, driver) = Client::builder("mqtt://localhost").drive(Smol)?;
    /// executor.spawn(driver).detach();
    /// let receipt = client.publish("hello", "world").send()?;
    /// println!("{}", async_io::block_on(executor.run(receipt)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If options contradict each other, or say how to open a stream, as `tls`, `websocket`,
    /// `proxy` and `socket` do: that is up to the runtime. Or if it does not name the scheme of a
    /// URL among those that it [opens](Runtime::schemes).
    pub fn drive<R: Runtime>(
        self,
        runtime: R,
    ) -> Result<(Client<Async>, impl Future<Output = ()> + Send + use<R>), ClientBuildError> {
        let (client, course) = self.build(|dialer| dialer.check_own_stream(runtime.schemes()))?;
        Ok((client, run(course, Own::new(runtime))))
    }
}
