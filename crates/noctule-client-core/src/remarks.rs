//! What an acknowledgement says beside its reason code.

use alloc::boxed::Box;
use core::fmt;

use noctule_packet::{Ack, TextRules, UserProperties};

use crate::negotiated::owned;
use crate::text::{are_texts, is_text};

/// What an acknowledgement says beside its reason code, 5.0 only.
///
/// ```
/// use noctule_client_core::Remarks;
///
/// let mut remarks = Remarks::new("the disk is full");
/// remarks.user_properties.push("retry-after", "60").unwrap();
/// assert_eq!(remarks.to_string(), "the disk is full");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The reason in words.
    pub reason_string: Option<Box<str>>,
    /// The user properties.
    pub user_properties: UserProperties<'static>,
}

/// What stands between two reasons in words for the same thing.
const BETWEEN: &str = "; ";

impl Remarks {
    /// A reason in words, and nothing else.
    pub fn new(reason_string: impl Into<Box<str>>) -> Self {
        Self { reason_string: Some(reason_string.into()), ..Self::default() }
    }

    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }

    /// What a packet says, if it says anything: hardly any does, and then nothing is allocated.
    #[inline]
    pub(crate) fn of(
        reason_string: Option<&str>,
        user_properties: &UserProperties<'_>,
    ) -> Option<Box<Self>> {
        if reason_string.is_none() && user_properties.is_empty() {
            return None;
        }
        Some(Self::boxed(reason_string, user_properties))
    }

    #[cold]
    fn boxed(reason_string: Option<&str>, user_properties: &UserProperties<'_>) -> Box<Self> {
        let reason_string = reason_string.map(Into::into);
        Box::new(Self { reason_string, user_properties: owned(user_properties) })
    }

    /// What PUBREC says, and behind it what PUBCOMP says.
    #[inline]
    pub(crate) fn join(first: Option<Box<Self>>, next: Option<Box<Self>>) -> Option<Box<Self>> {
        let (mut first, next) = match (first, next) {
            (Some(first), Some(next)) => (first, next),
            (first, next) => return first.or(next),
        };
        first.reason_string = match (first.reason_string, next.reason_string) {
            (Some(one), Some(other)) => Some([&*one, BETWEEN, &*other].concat().into()),
            (one, other) => one.or(other),
        };
        for (name, value) in next.user_properties.iter() {
            // It was in a packet, so it is one.
            let _ = first.user_properties.push(name, value);
        }
        Some(first)
    }

    /// Whether a packet can carry them; if not, what it cannot.
    pub(crate) fn check(&self, rules: TextRules) -> Result<(), &'static str> {
        let is_text = |text: &str| is_text(rules, text);
        if !self.reason_string.as_deref().is_none_or(is_text) {
            return Err("reason_string");
        }
        if !are_texts(rules, &self.user_properties) {
            return Err("user_properties");
        }
        Ok(())
    }

    /// An acknowledgement with them.
    pub(crate) fn on<'a>(&'a self, ack: &Ack<'a>) -> Ack<'a> {
        let reason_string = self.reason_string.as_deref();
        Ack { reason_string, user_properties: self.user_properties.clone(), ..ack.clone() }
    }
}

impl fmt::Display for Remarks {
    /// The reason in words.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason_string.as_deref().unwrap_or_default())
    }
}
