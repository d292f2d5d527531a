//! Enhanced authentication: the user's method, asked when its turn comes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use noctule_packet::UserProperties;

use crate::event::Epoch;
use crate::remarks::Remarks;

/// A method of enhanced authentication, with what it must remember of an exchange.
///
/// One exchange is a `start`, any number of `challenge`s and a `verify`. `start` forgets any
/// exchange before it. Each may take its time, as far as the server lets it: a client asks it where
/// nothing is locked.
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

    /// What an AUTH of the server says beside its data, if it says anything; it comes before that
    /// `challenge` or `verify`. What CONNACK says is in [`Negotiated`](crate::Negotiated).
    fn remarks(&mut self, remarks: &Remarks) {
        let _ = remarks;
    }

    /// The user properties of the AUTH that takes what `start` or `challenge` has just given; none
    /// by default. CONNECT has those of [`ConnectOptions`](crate::ConnectOptions).
    fn user_properties(&mut self) -> UserProperties<'static> {
        UserProperties::new()
    }
}

/// Why our side gives an authentication up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthError {
    /// What is wrong.
    pub message: Box<str>,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "authentication: {}", self.message)
    }
}

impl core::error::Error for AuthError {}

impl AuthError {
    /// An error with this message.
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into() }
    }
}

/// A step of an authentication, for the user's method to take wherever nothing is locked and
/// nobody waits: it may take its time. To be given back with
/// [`ClientSession::authenticated`](crate::ClientSession::authenticated).
pub struct AuthenticationStep {
    method: Box<dyn Authenticator>,
    epoch: Epoch,
    task: Task,
}

/// A step that was taken.
pub struct AuthenticationDone {
    pub(crate) method: Box<dyn Authenticator>,
    pub(crate) epoch: Epoch,
    pub(crate) part: Part,
    /// Of the AUTH that follows, if one does.
    pub(crate) user_properties: UserProperties<'static>,
    pub(crate) result: Result<Option<Vec<u8>>, AuthError>,
}

/// What the method is asked.
#[derive(Debug)]
pub(crate) enum Task {
    Connect,
    Again,
    Challenge(Said),
    VerifyConnack(Option<Vec<u8>>),
    VerifyAgain(Said),
}

/// What an AUTH of the server says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) remarks: Option<Box<Remarks>>,
}

impl Said {
    /// The data, when the method knows the rest.
    fn tell(self, method: &mut dyn Authenticator) -> Option<Vec<u8>> {
        if let Some(remarks) = self.remarks {
            method.remarks(&remarks);
        }
        self.data
    }
}

/// What its answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Connect,
    Again,
    Challenge,
    VerifyConnack,
    VerifyAgain,
}

impl AuthenticationStep {
    /// Asks the method.
    pub fn take(self) -> AuthenticationDone {
        let Self { mut method, epoch, task } = self;
        let (part, result) = match task {
            Task::Connect => (Part::Connect, method.start()),
            Task::Again => (Part::Again, method.start()),
            Task::Challenge(said) => {
                let data = said.tell(&mut *method);
                (Part::Challenge, method.challenge(data.as_deref()))
            }
            Task::VerifyConnack(data) => {
                (Part::VerifyConnack, method.verify(data.as_deref()).map(|()| None))
            }
            Task::VerifyAgain(said) => {
                let data = said.tell(&mut *method);
                (Part::VerifyAgain, method.verify(data.as_deref()).map(|()| None))
            }
        };
        let user_properties = match part {
            Part::Again | Part::Challenge if result.is_ok() => method.user_properties(),
            _ => UserProperties::new(),
        };
        AuthenticationDone { method, epoch, part, user_properties, result }
    }
}

// What is to be proven is nobody else's business.
impl fmt::Debug for AuthenticationStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthenticationStep")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthenticationDone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthenticationDone")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

/// The user's method, if there is one, and how far it has come.
#[derive(Default)]
pub(crate) struct Authentication {
    /// Its name; `None` without a method.
    name: Option<Box<str>>,
    /// Whether the server must not see it.
    pub(crate) is_withheld: bool,
    /// The method, unless it is at work.
    method: Option<Box<dyn Authenticator>>,
    /// What it is to do next.
    task: Option<Task>,
    /// Whether whoever drives the session fetches each step.
    pub(crate) is_deferred: bool,
    /// Whether an exchange is under way after CONNACK.
    pub(crate) is_under_way: bool,
    /// Whether nothing may be read before a step is taken.
    is_waiting: bool,
    /// Whether the method believes the CONNACK that is being read.
    pub(crate) is_verified: bool,
}

impl Authentication {
    pub(crate) fn set(&mut self, method: Option<Box<dyn Authenticator>>) {
        self.name = method.as_ref().map(|method| method.method().into());
        self.method = method;
    }

    /// The name of the method, if there is one for this server.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| !self.is_withheld)
    }

    /// Whether the method is at work, or about to be.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    pub(crate) fn ask(&mut self, task: Task) {
        (self.task, self.is_waiting) = (Some(task), true);
    }

    /// The connection is over, and with it whatever was asked.
    pub(crate) fn reset(&mut self) {
        self.task = None;
        (self.is_under_way, self.is_waiting, self.is_verified) = (false, false, false);
    }

    pub(crate) fn step(&mut self, epoch: Epoch) -> Option<AuthenticationStep> {
        self.method.as_ref()?;
        let task = self.task.take()?;
        let method = self.method.take()?;
        Some(AuthenticationStep { method, epoch, task })
    }

    /// The method is back, unless there is another one by now. Whether its answer still counts.
    pub(crate) fn give_back(&mut self, method: Box<dyn Authenticator>, is_current: bool) -> bool {
        if self.method.is_some() || self.name.is_none() {
            return false;
        }
        self.method = Some(method);
        // Something newer may be asked already.
        let counts = is_current && self.task.is_none();
        self.is_waiting &= !counts;
        counts
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authentication").field("method", &self.name).finish_non_exhaustive()
    }
}
