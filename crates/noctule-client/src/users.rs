//! Who uses which subscription: the server is asked to end one when its last stream leaves, and to
//! go back to what an older stream has asked for when the newest leaves.

use std::collections::BTreeMap;

use noctule_packet::{RetainHandling, SubscriptionOptions, UserProperties};

/// Names one use of subscriptions. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserId(u64);

/// What a stream has asked of the server for a topic filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Terms {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
    pub(crate) user_properties: UserProperties<'static>,
}

/// The topic filters of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    /// As the server has them.
    pub(crate) asked: Vec<String>,
    /// As the program has named them, if interceptors have made something else of them.
    named: Option<Vec<String>>,
}

impl Filters {
    /// Of the filters that the program has named, and of what was made of them.
    pub(crate) fn new(named: Vec<String>, asked: Vec<String>) -> Self {
        let named = (named != asked).then_some(named);
        Self { asked, named }
    }

    /// As the program has named them.
    pub(crate) fn names(&self) -> &[String] {
        self.named.as_ref().unwrap_or(&self.asked)
    }

    /// What the program has named some of them.
    pub(crate) fn names_of(&self, asked: &[String]) -> Vec<String> {
        let place = |filter| self.asked.iter().position(|known| known == filter);
        asked.iter().filter_map(place).filter_map(|at| self.names().get(at)).cloned().collect()
    }
}

impl UserId {
    /// Who uses nothing.
    pub(crate) const NOBODY: Self = Self(0);
}

impl Terms {
    /// Whether the server would do something else under others.
    fn differ(&self, other: &Self) -> bool {
        let of = |terms: &Self| {
            let SubscriptionOptions { qos, no_local, retain_as_published, .. } = terms.options;
            (qos, no_local, retain_as_published, terms.identifier)
        };
        of(self) != of(other)
    }

    /// The same for a subscription that the server has: what is retained was sent before, and is to
    /// come again only if the server has forgotten the subscription.
    fn again(mut self) -> Self {
        if self.options.retain_handling == RetainHandling::SendAtSubscribe {
            self.options.retain_handling = RetainHandling::SendIfNew;
        }
        self
    }
}

/// What is left of subscriptions when a stream has left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Left {
    /// Nobody uses these.
    pub(crate) unused: Vec<String>,
    /// These are used by streams that have asked for something else than the server does.
    pub(crate) outlasted: Vec<(String, Terms)>,
}

/// The streams of each topic filter, in the order in which they asked: the server does what the
/// last one wants.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_filter: BTreeMap<String, Vec<(UserId, Terms)>>,
    last: u64,
}

impl Users {
    fn next(&mut self) -> UserId {
        self.last += 1;
        UserId(self.last)
    }

    /// A stream uses these filters, and has asked for them.
    pub(crate) fn join(&mut self, wanted: &[(String, Terms)]) -> UserId {
        let user = self.next();
        for (filter, terms) in wanted {
            self.by_filter.entry(filter.clone()).or_default().push((user, terms.clone()));
        }
        user
    }

    /// A stream uses what another one has asked for.
    pub(crate) fn join_like(&mut self, other: UserId, filters: &[String]) -> UserId {
        let user = self.next();
        for filter in filters {
            let Some(users) = self.by_filter.get_mut(filter) else { continue };
            if let Some(at) = users.iter().position(|(known, _)| *known == other) {
                let terms = users[at].1.clone();
                users.insert(at, (user, terms));
            }
        }
        user
    }

    /// A stream leaves. It may have left before.
    pub(crate) fn leave(&mut self, user: UserId, filters: &[String]) -> Left {
        let mut left = Left::default();
        for filter in filters {
            let Some(users) = self.by_filter.get_mut(filter) else { continue };
            let Some((_, before)) = users.last().cloned() else { continue };
            let count = users.len();
            users.retain(|(known, _)| *known != user);
            match users.last() {
                None => {
                    self.by_filter.remove(filter);
                    left.unused.push(filter.clone());
                }
                Some((_, now)) if users.len() < count && now.differ(&before) => {
                    left.outlasted.push((filter.clone(), now.clone().again()));
                }
                Some(_) => {}
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use noctule_packet::QoS;

    use super::*;

    fn terms(qos: QoS) -> Terms {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        Terms { options, identifier: None, user_properties: UserProperties::new() }
    }

    fn wanted(filters: &[&str], qos: QoS) -> Vec<(String, Terms)> {
        filters.iter().map(|&filter| (filter.to_owned(), terms(qos))).collect()
    }

    fn names(filters: &[&str]) -> Vec<String> {
        filters.iter().map(|&filter| filter.to_owned()).collect()
    }

    #[test]
    fn the_last_one_is_told() {
        let mut users = Users::default();
        let one = users.join(&wanted(&["a", "b"], QoS::AtMostOnce));
        let two = users.join(&wanted(&["a", "a"], QoS::AtMostOnce));
        assert_eq!(users.leave(two, &names(&["a", "a"])), Left::default());
        assert_eq!(users.leave(one, &names(&["a", "b"])).unused, ["a", "b"]);
        assert_eq!(users.leave(one, &names(&["a"])), Left::default());
        assert!(users.by_filter.is_empty());
    }

    #[test]
    fn what_the_newest_wants_holds_until_it_leaves() {
        let filter = names(&["a"]);
        let mut users = Users::default();
        let low = users.join(&wanted(&["a"], QoS::AtMostOnce));
        let high = users.join(&wanted(&["a"], QoS::ExactlyOnce));
        let same = users.join_like(low, &filter);
        let newest = users.join(&wanted(&["a"], QoS::AtLeastOnce));
        // Whoever is not the newest changes nothing.
        assert_eq!(users.leave(low, &filter), Left::default());
        let again = |qos| {
            let mut terms = terms(qos);
            terms.options.retain_handling = RetainHandling::SendIfNew;
            Left { unused: vec![], outlasted: vec![("a".to_owned(), terms)] }
        };
        assert_eq!(users.leave(newest, &filter), again(QoS::ExactlyOnce));
        assert_eq!(users.leave(high, &filter), again(QoS::AtMostOnce));
        assert_eq!(users.leave(same, &filter).unused, ["a"]);
    }
}
