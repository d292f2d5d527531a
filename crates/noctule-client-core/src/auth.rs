//! Enhanced authentication: the user's method, asked when its turn comes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// A method of enhanced authentication, with what it must remember of an exchange.
///
/// One exchange is a `start`, any number of `challenge`s and a `verify`. `start` forgets any
/// exchange before it.
pub trait Authenticator: Send {
    /// The name of the method.
    fn method(&self) -> &str;

    /// A connection, or a re-authentication, begins. What to send first.
    ///
    /// # Errors
    ///
    /// If it cannot begin.
    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError>;

    /// The server wants more. What to answer.
    ///
    /// # Errors
    ///
    /// If there is no answer to that.
    fn challenge(&mut self, data: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError>;

    /// The server is satisfied. Whether we are.
    ///
    /// # Errors
    ///
    /// If the server has not proven what it must prove.
    fn verify(&mut self, data: Option<&[u8]>) -> Result<(), AuthError>;
}

/// Why our side gives an authentication up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication: {message}")]
pub struct AuthError {
    /// What is wrong.
    pub message: Box<str>,
}

impl AuthError {
    /// An error with this message.
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into() }
    }
}

/// The user's method, if there is one.
#[derive(Default)]
pub(crate) struct Authentication {
    pub(crate) method: Option<Box<dyn Authenticator>>,
    /// Whether an exchange is under way after CONNACK.
    pub(crate) is_under_way: bool,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.as_ref().map(|method| method.method());
        formatter.debug_struct("Authentication").field("method", &method).finish_non_exhaustive()
    }
}
