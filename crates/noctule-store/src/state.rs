//! The state of a store: what lives long and is looked up by its key.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::StoreError;

/// The most bytes of a key. What may be longer, as a topic may, is shortened by who names it.
pub const KEY_BYTES_MAX: usize = 65_534;

/// The format of what a state's keys and values stand in.
pub(crate) const STATE_FORMAT: u16 = 1;

/// Keys with values, changed in batches. What they mean is for others to know.
pub trait State: fmt::Debug + Send {
    /// Changes all of this together: when it returns, it is durable.
    ///
    /// # Errors
    ///
    /// If it cannot be made durable. It is not seen then, and may be there after the next opening,
    /// all of it or nothing. Another batch may be applied, or the same again.
    fn apply(&mut self, batch: &StateBatch) -> Result<(), StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// If the system cannot read it, or what it reads is damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows every key that begins with `prefix`, in the order of their bytes, with its value.
    ///
    /// # Errors
    ///
    /// If the system cannot read it, or what it reads is damaged.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// The bytes that it takes on disk.
    fn bytes(&self) -> u64;
}

/// Changes that happen together. Of a key that is named twice, the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateBatch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl StateBatch {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key a value, in place of the one that it has.
    ///
    /// # Errors
    ///
    /// If the key or the value is longer than any state takes. The batch is as before then.
    pub fn put(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let (key, value) = (checked(key.into())?, value.into());
        let length = value.len();
        u32::try_from(length).map_err(|_| StoreError::TooLarge { length })?;
        self.changes.insert(key, Some(value));
        Ok(())
    }

    /// Takes a key away, if it is there.
    ///
    /// # Errors
    ///
    /// If the key is longer than any state takes. The batch is as before then.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) -> Result<(), StoreError> {
        self.changes.insert(checked(key.into())?, None);
        Ok(())
    }

    /// How many keys are changed.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes all changes out.
    pub fn clear(&mut self) {
        self.changes.clear();
    }

    /// The changes in the order of their keys; without a value, the key is removed.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

fn checked(key: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    match key.len() {
        length if length > KEY_BYTES_MAX => Err(StoreError::TooLarge { length }),
        _ => Ok(key),
    }
}
