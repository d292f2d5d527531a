//! The topics that messages arrived on lately: shared instead of copied, and not judged twice.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// A power of two.
const PLACES: usize = 64;

/// A few topics, each at the place that its bytes say.
#[derive(Debug)]
pub(crate) struct TopicCache {
    places: Vec<Option<Arc<str>>>,
}

impl Default for TopicCache {
    fn default() -> Self {
        Self { places: alloc::vec![None; PLACES] }
    }
}

impl TopicCache {
    /// A topic with these bytes, if it is known.
    #[inline]
    pub(crate) fn find(&self, topic: &[u8]) -> Option<&Arc<str>> {
        self.places.get(place_of(topic))?.as_ref().filter(|known| known.as_bytes() == topic)
    }

    /// The topic with this text, known from now on.
    pub(crate) fn keep(&mut self, topic: &str) -> Arc<str> {
        if let Some(known) = self.find(topic.as_bytes()) {
            return Arc::clone(known);
        }
        let topic: Arc<str> = topic.into();
        if let Some(place) = self.places.get_mut(place_of(topic.as_bytes())) {
            *place = Some(Arc::clone(&topic));
        }
        topic
    }
}

/// Where a topic stands. Topics that differ mostly do so in their last bytes.
fn place_of(topic: &[u8]) -> usize {
    let (_, last) = topic.split_at(topic.len().saturating_sub(8));
    let sum = last
        .iter()
        .fold(topic.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    usize::try_from(sum.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58).unwrap_or_default() % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_until_another_takes_its_place() {
        let mut cache = TopicCache::default();
        let kept = cache.keep("a/b");
        assert!(Arc::ptr_eq(&kept, cache.find(b"a/b").unwrap()));
        assert!(Arc::ptr_eq(&kept, &cache.keep("a/b")));
        assert_eq!(cache.find(b"a/c"), None);
        for number in 0..10_000 {
            let topic = alloc::format!("t/{number}");
            assert_eq!(*cache.keep(&topic), *topic);
        }
        assert_eq!(cache.places.len(), PLACES);
    }
}
