//! A program that decides by itself when, where and whether to connect again.

use std::time::Duration;

use noctule_transport::{DialerBuilder, Url};

use crate::connection_end::ConnectionEnd;

/// What comes after a connection, or after an attempt that has come to none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum NextAttempt {
    /// What [`ReconnectSettings`](crate::ReconnectSettings) say.
    #[default]
    AsPlanned,
    /// Another attempt after so long, at the endpoint whose turn it is.
    After(Duration),
    /// Another attempt after so long, at this server, whatever endpoints there are. It is reached
    /// as they are, and sees the user name and the password that are for every endpoint, or else
    /// those in its URL.
    At {
        /// The server.
        url: Url,
        /// How long to wait before.
        after: Duration,
    },
    /// None: the client ends.
    Stop,
    /// Another attempt after so long, at the server of this dialer, and the way that it says: with
    /// TLS, a client certificate, a proxy, socket options and a time to connect of its own. Of the
    /// endpoints' it has nothing. The server sees the same user name and password as with `At`.
    ///
    /// What contradicts itself in it, or what the client's kind cannot use, fails the attempt.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use noctule_client::transport::DialerBuilder;
    /// use noctule_client::{Client, ConnectionEnd, NextAttempt};
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let backup = DialerBuilder::new("mqtt://backup.example".parse()?)
    ///     .proxy("socks5h://gateway.example".parse()?);
    /// let decide = move |_: &ConnectionEnd, failures: u32| match failures {
    ///     0..5 => NextAttempt::AsPlanned,
    ///     _ => NextAttempt::Through {
    ///         dialer: Box::new(backup.clone()),
    ///         after: Duration::from_secs(1),
    ///     },
    /// };
    /// let builder = Client::builder("mqtt://broker.example").reconnector(decide);
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// # run().unwrap();
    /// ```
    Through {
        /// How the server is reached.
        dialer: Box<DialerBuilder>,
        /// How long to wait before.
        after: Duration,
    },
}

/// Decides what comes after a connection has ended that the user has not ended, and after an
/// attempt that has come to none; see
/// [`ClientBuilder::reconnector`](crate::generic::ClientBuilder::reconnector). Closures do.
pub trait Reconnector: Send {
    /// What comes next. Which of the two it was, `end.negotiated` says: only a connection had any.
    /// `failures` counts the failures in a row, this one included; a connection that has lasted as
    /// long as [`Backoff::stable_after`](crate::Backoff::stable_after) begins a new row.
    ///
    /// It is called with nothing locked, so it may use the client, but the client does nothing else
    /// meanwhile: what takes long is to be done elsewhere, and a blocking call that would have to
    /// wait for the client fails with [`OnOwnThread`](crate::OnOwnThread), or panics where it
    /// returns no error. If it panics, what comes next is as planned.
    fn next_attempt(&mut self, end: &ConnectionEnd, failures: u32) -> NextAttempt;
}

impl<F: FnMut(&ConnectionEnd, u32) -> NextAttempt + Send> Reconnector for F {
    fn next_attempt(&mut self, end: &ConnectionEnd, failures: u32) -> NextAttempt {
        self(end, failures)
    }
}
