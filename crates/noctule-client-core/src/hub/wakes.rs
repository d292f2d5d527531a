//! Who is to be woken, gathered while the hub is locked and woken when it is not.

use alloc::vec::Vec;
use core::task::Waker;

/// Adds a waker to a list, unless it is there: whoever asks often is woken once.
pub fn enlist(list: &mut Vec<Waker>, waker: &Waker) {
    if !list.iter().any(|known| known.will_wake(waker)) {
        list.push(waker.clone());
    }
}

/// Those to wake once the hub is not locked any more: waking, and even dropping a waker, runs code
/// that may want to lock it.
#[derive(Debug, Default)]
#[must_use = "whoever waits would wait for ever"]
pub struct Wakes(Vec<Waker>);

impl Wakes {
    /// Adds somebody, if there is somebody.
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    /// Adds everybody in a list.
    pub(crate) fn add_all(&mut self, wakers: &mut Vec<Waker>) {
        self.0.append(wakers);
    }

    /// Puts a waker in the place of an earlier one of the same waiter.
    pub(crate) fn replace(&mut self, place: &mut Option<Waker>, waker: &Waker) {
        match place {
            Some(known) if known.will_wake(waker) => {}
            _ => {
                let before = place.replace(waker.clone());
                self.add(before);
            }
        }
    }

    /// Whether nobody is to be woken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes everybody. The hub must not be locked.
    pub fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}
