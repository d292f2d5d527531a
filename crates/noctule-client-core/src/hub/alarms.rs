//! Users who wait for a time to come, whatever runtime they are on: the driver has a clock.

use alloc::collections::BTreeMap;
use core::task::Waker;

use noctule_session::Timestamp;

use crate::hub::wakes::Wakes;

/// Names an alarm of a hub. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlarmId(Timestamp, u64);

/// Those who are to be woken at a time.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    list: BTreeMap<(Timestamp, u64), Waker>,
    next: u64,
}

impl Alarms {
    /// Somebody is to be woken at this time.
    pub(crate) fn set(&mut self, at: Timestamp, waker: &Waker) -> AlarmId {
        let id = AlarmId(at, self.next);
        self.list.insert((at, self.next), waker.clone());
        self.next += 1;
        id
    }

    /// And does not have to be any more.
    pub(crate) fn unset(&mut self, id: AlarmId, wakes: &mut Wakes) {
        wakes.add(self.list.remove(&(id.0, id.1)));
    }

    /// When the first of them is to be woken.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.list.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes those whose time has come.
    pub(crate) fn ring(&mut self, now: Timestamp, wakes: &mut Wakes) {
        while self.next().is_some_and(|at| at <= now) {
            wakes.add(self.list.pop_first().map(|(_, waker)| waker));
        }
    }
}
