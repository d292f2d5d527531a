//! What stands in the place of a store in a client that is built without one: nothing.

use noctule_client_core::ClientSession;

/// There is none.
#[derive(Debug)]
pub(crate) enum Journal {}

impl Journal {
    pub(crate) fn is_busy(&self) -> bool {
        match *self {}
    }
    pub(crate) fn batch(&self) -> u64 {
        match *self {}
    }
    pub(crate) fn is_kept(&self, _: u64) -> bool {
        match *self {}
    }
    pub(crate) fn tellable(&mut self, _: &mut ClientSession) -> usize {
        match *self {}
    }
    pub(crate) fn submit(&mut self, _: &mut ClientSession) {
        match *self {}
    }
    pub(crate) fn has_news(&mut self, _: &mut ClientSession) -> bool {
        match *self {}
    }
    pub(crate) fn is_quiet(&mut self, _: &mut ClientSession) -> bool {
        match *self {}
    }
    pub(crate) fn on_heard(&mut self) {
        match *self {}
    }
    pub(crate) fn on_down(&mut self) {
        match *self {}
    }
    pub(crate) fn has_failed(&self) -> bool {
        match *self {}
    }
    pub(crate) fn give_up(&mut self) {
        match *self {}
    }
    pub(crate) fn is_given_up(&self) -> bool {
        match *self {}
    }
    pub(crate) fn check(&self) -> Result<(), crate::error::PublishError> {
        match *self {}
    }
    pub(crate) fn leave(&self) -> bool {
        match *self {}
    }
}
