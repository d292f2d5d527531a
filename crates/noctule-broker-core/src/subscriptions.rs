//! A session's subscriptions, by filter. Most sessions have a handful, which a tree would surround
//! with a multiple of empty room.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::mem;
use core::slice;

use crate::session::Subscription;

/// From how many on they stand in a tree, so that no change costs more than a little.
const MANY: usize = 32;

/// The subscriptions of one session, in the order of their filters.
#[derive(Debug)]
pub(crate) enum Subscriptions {
    Few(Vec<(Box<str>, Subscription)>),
    Many(BTreeMap<Box<str>, Subscription>),
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        match self {
            Self::Few(few) => find(few, filter).is_ok(),
            Self::Many(many) => many.contains_key(filter),
        }
    }

    pub(crate) fn get(&self, filter: &str) -> Option<Subscription> {
        match self {
            Self::Few(few) => few.get(find(few, filter).ok()?).map(|(_, known)| *known),
            Self::Many(many) => many.get(filter).copied(),
        }
    }

    /// Adds one, or replaces the one with the same filter, which is returned.
    pub(crate) fn insert(&mut self, filter: Box<str>, new: Subscription) -> Option<Subscription> {
        let few = match self {
            Self::Many(many) => return many.insert(filter, new),
            Self::Few(few) => few,
        };
        match find(few, &filter) {
            Ok(at) => few.get_mut(at).map(|(_, known)| mem::replace(known, new)),
            Err(at) if few.len() < MANY => {
                // Most sessions have one.
                if few.is_empty() {
                    few.reserve_exact(1);
                }
                few.insert(at, (filter, new));
                None
            }
            Err(_) => {
                let mut many: BTreeMap<_, _> = mem::take(few).into_iter().collect();
                many.insert(filter, new);
                *self = Self::Many(many);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        match self {
            Self::Few(few) => {
                let (_, removed) = few.remove(find(few, filter).ok()?);
                few.shrink_to(2 * few.len());
                Some(removed)
            }
            Self::Many(many) => {
                let removed = many.remove(filter)?;
                // Not at once: whoever ends one and makes another would pay for both.
                if many.len() < MANY / 2 {
                    *self = Self::Few(mem::take(many).into_iter().collect());
                }
                Some(removed)
            }
        }
    }

    /// The filters, in order.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(filter, _)| filter)
    }

    /// All of them, in the order of their filters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Subscription)> {
        let (few, many): (slice::Iter<'_, _>, btree_map::Iter<'_, _, _>) = match self {
            Self::Few(few) => (few.iter(), EMPTY.iter()),
            Self::Many(many) => ([].iter(), many.iter()),
        };
        let few = few.map(|(filter, subscription)| (&**filter, subscription));
        few.chain(many.map(|(filter, subscription)| (&**filter, subscription)))
    }
}

static EMPTY: BTreeMap<Box<str>, Subscription> = BTreeMap::new();

fn find(few: &[(Box<str>, Subscription)], filter: &str) -> Result<usize, usize> {
    few.binary_search_by(|(known, _)| (**known).cmp(filter))
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU32;
    use std::format;
    use std::string::String;

    use noctule_packet::{QoS, SubscriptionOptions};

    use super::*;

    fn subscription(identifier: u32) -> Subscription {
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..Default::default() };
        Subscription { options, identifier: NonZeroU32::new(identifier) }
    }

    /// Up to many and down to none, twice, with a plain map beside it.
    #[test]
    fn they_are_the_same_few_or_many() {
        let (mut subscriptions, mut model) = (Subscriptions::default(), BTreeMap::new());
        let mut was_many = 0;
        for step in 0..4 * 3 * MANY as u32 {
            let number = step * 7_919 % (3 * MANY as u32);
            let filter = format!("filter/{number}");
            let adds = (step / (3 * MANY as u32)).is_multiple_of(2);
            if adds {
                let new = subscription(step);
                let before = model.insert(filter.clone(), new);
                assert_eq!(subscriptions.insert(filter.clone().into(), new), before);
                assert_eq!(subscriptions.insert(filter.clone().into(), new), Some(new));
            } else {
                assert_eq!(subscriptions.remove(&filter), model.remove(&filter));
                assert_eq!(subscriptions.remove(&filter), None);
            }
            assert_eq!(subscriptions.contains(&filter), adds);
            assert_eq!(subscriptions.get(&filter), model.get(&filter).copied());
            assert_eq!(subscriptions.len(), model.len());
            assert!(subscriptions.filters().eq(model.keys().map(String::as_str)));
            was_many += usize::from(matches!(subscriptions, Subscriptions::Many(_)));
        }
        assert_eq!(subscriptions.len(), 0);
        assert!(was_many > 100, "{was_many}");
        assert!(matches!(subscriptions, Subscriptions::Few(_)));
    }

    #[test]
    fn one_subscription_takes_no_room_for_others() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.insert("a".into(), subscription(1));
        let Subscriptions::Few(few) = &subscriptions else { panic!("a tree for one") };
        assert_eq!(few.capacity(), 1);
    }
}
