//! The few topics and filters that all clients of a run use, and which filter matches which topic.
//!
//! Shared subscriptions have topics of their own, so that a message which reaches a client can only
//! have come through one kind of subscription.

/// How many shared subscriptions there are.
pub(crate) const GROUPS: usize = 2;

/// How many topics there are that one client alone subscribes to, each the one with its number.
pub(crate) const OWN: usize = 3;

/// The topics and filters of a run, known by their index.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    names: Vec<String>,
    filters: Vec<Filter>,
    /// By filter, then by topic.
    matches: Vec<Vec<bool>>,
}

#[derive(Clone, Debug)]
struct Filter {
    text: String,
    group: Option<usize>,
}

impl Topics {
    pub(crate) fn new() -> Self {
        let plain = |text: &str| Filter { text: text.to_owned(), group: None };
        let mut names: Vec<String> = (0..6).map(|at| format!("t/{at}")).collect();
        names.extend((0..3).map(|at| format!("t/{at}/x")));
        let mut filters: Vec<Filter> = (0..6).map(|at| plain(&format!("t/{at}"))).collect();
        filters.extend(["t/+", "t/#", "t/0/#", "t/1/+", "t/+/x"].map(plain));
        for at in 0..OWN {
            names.push(format!("o/{at}"));
            filters.push(plain(&format!("o/{at}")));
        }
        for group in 0..GROUPS {
            names.extend((0..3).map(|at| format!("g/{group}/{at}")));
            filters
                .push(Filter { text: format!("$share/s{group}/g/{group}/+"), group: Some(group) });
        }
        let matches = filters
            .iter()
            .map(|filter| {
                let text = match filter.group {
                    // Behind `$share/` and the name.
                    Some(_) => filter.text.splitn(3, '/').nth(2).unwrap_or_default(),
                    None => &filter.text,
                };
                names.iter().map(|name| is_match(text, name)).collect()
            })
            .collect();
        Self { names, filters, matches }
    }

    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, topic: usize) -> &str {
        &self.names[topic]
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// How many filters there are.
    pub(crate) fn filters(&self) -> usize {
        self.filters.len()
    }

    pub(crate) fn filter(&self, filter: usize) -> &str {
        &self.filters[filter].text
    }

    pub(crate) fn find_filter(&self, text: &str) -> Option<usize> {
        self.filters.iter().position(|known| known.text == text)
    }

    /// How many filters there are that any client may use by itself: the first ones.
    pub(crate) fn everybodys_filters(&self) -> usize {
        self.filters.len() - GROUPS - OWN
    }

    /// The filter that one client alone uses.
    pub(crate) fn own_filter(&self, client: usize) -> Option<usize> {
        (client < OWN).then(|| self.everybodys_filters() + client)
    }

    /// The topic that this client alone gets.
    pub(crate) fn own_topic(&self, client: usize) -> usize {
        let filter = self.everybodys_filters() + client;
        (0..self.len()).find(|topic| self.is_match(filter, *topic)).unwrap_or_default()
    }

    /// The filter of a shared subscription.
    pub(crate) fn group_filter(&self, group: usize) -> usize {
        self.filters.len() - GROUPS + group
    }

    pub(crate) fn is_shared(&self, filter: usize) -> bool {
        self.filters[filter].group.is_some()
    }

    /// Whether only shared subscriptions match the topic.
    pub(crate) fn is_for_groups(&self, topic: usize) -> bool {
        self.names[topic].starts_with("g/")
    }

    /// Whether messages on the topic may be retained: those that everybody may ask for.
    pub(crate) fn is_retained(&self, topic: usize) -> bool {
        self.names[topic].starts_with("t/")
    }

    pub(crate) fn is_match(&self, filter: usize, topic: usize) -> bool {
        self.matches[filter][topic]
    }
}

/// Level by level; no topic here begins with `$`.
fn is_match(filter: &str, name: &str) -> bool {
    let mut levels = name.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_they_should() {
        for (filter, name, expected) in [
            ("t/+", "t/1", true),
            ("t/+", "t/1/x", false),
            ("t/#", "t/1/x", true),
            ("t/0/#", "t/0", true),
            ("t/+/x", "t/2/x", true),
            ("t/1/+", "t/1", false),
            ("t/1", "t/1/x", false),
        ] {
            assert_eq!(is_match(filter, name), expected, "{filter} {name}");
        }
    }

    #[test]
    fn shared_subscriptions_match_their_own_topics_only() {
        let topics = Topics::new();
        for filter in 0..topics.filters() {
            for topic in 0..topics.len() {
                let mixed = topics.is_shared(filter) != topics.is_for_groups(topic);
                assert!(!(mixed && topics.is_match(filter, topic)));
            }
        }
    }
}
