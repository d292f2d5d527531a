//! Whether the broker has a session for a client, as far as its client can know.

use super::Place;
use crate::crash::finding::Kind;
use crate::crash::journal::Opening;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Existence {
    #[default]
    No,
    Yes,
    /// It was asked for, or asked to end, and the answer did not come.
    Unsure,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    existence: Existence,
    /// How the connection was opened that CONNACK has let in.
    open: Option<Opening>,
    /// How the connection is to be opened that waits for CONNACK.
    pending: Option<Opening>,
    /// Where it began.
    began: Place,
}

impl Session {
    pub(super) fn on_connect(&mut self, opening: Opening) {
        // An open connection is taken over by this one.
        self.open = None;
        self.pending = Some(opening);
    }

    /// Whether CONNACK must now say that there is a session.
    pub(super) fn is_promised(&self) -> bool {
        self.existence == Existence::Yes && self.pending.is_some_and(|asked| !asked.clean_start)
    }

    /// What is wrong with what CONNACK says.
    pub(super) fn on_connack(&mut self, is_present: bool, now: Place) -> Option<Kind> {
        let opening = self.pending.take()?;
        let expected = if opening.clean_start { Existence::No } else { self.existence };
        if !is_present {
            self.began = now;
        }
        self.existence = Existence::Yes;
        self.open = Some(opening);
        match (expected, is_present) {
            (Existence::Yes, false) => Some(Kind::SessionLost),
            (Existence::No, true) => Some(Kind::SessionResurrected),
            _ => None,
        }
    }

    /// Whether the session ends with the connection.
    pub(super) fn on_leaving(&mut self) -> bool {
        let ends = self.open.is_some_and(|open| !open.is_stored);
        if ends {
            self.existence = Existence::Unsure;
        }
        ends
    }

    /// Whether the session has ended with the connection.
    pub(super) fn on_ended(&mut self) -> bool {
        if let Some(asked) = self.pending.take() {
            self.existence = match (asked.clean_start, asked.is_stored, self.existence) {
                (_, false, Existence::No) => Existence::No,
                (false, true, Existence::Yes) => Existence::Yes,
                _ => Existence::Unsure,
            };
            return false;
        }
        let has_ended = self.open.take().is_some_and(|open| !open.is_stored);
        if has_ended {
            self.existence = Existence::No;
        }
        has_ended
    }

    pub(super) fn began(&self) -> Place {
        self.began
    }
}
