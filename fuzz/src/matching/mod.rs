//! Topic names, topic filters and subscriptions against a naive model of matching.

mod broker;
mod model;
mod scenario;

use noctule_packet::{ShareName, TopicFilter, TopicName};

use crate::choices::Choices;

pub(crate) fn check(data: &[u8]) {
    match data.split_first() {
        // A name and a filter, a line each, in any characters.
        Some((0, texts)) => {
            let Ok(texts) = std::str::from_utf8(texts) else { return };
            let (name, filter) = texts.split_once('\n').unwrap_or((texts, texts));
            check_texts(name, filter);
        }
        Some((_, rest)) => scenario::check(&mut Choices::new(rest)),
        None => {}
    }
}

fn check_texts(name: &str, filter: &str) {
    for text in [name, filter] {
        assert_eq!(TopicName::new(text).is_ok(), model::is_topic_name(text), "name {text:?}");
        assert_eq!(TopicFilter::new(text).is_ok(), model::is_filter(text), "filter {text:?}");
        assert_eq!(ShareName::new(text).is_ok(), model::is_share_name(text), "share {text:?}");
        if let Ok(filter) = TopicFilter::new(text) {
            check_parts(text, filter);
        }
    }
    if let (Ok(name), Ok(parsed)) = (TopicName::new(name), TopicFilter::new(filter)) {
        assert_eq!(name.levels().collect::<Vec<_>>().join("/"), name.as_str());
        let expected = model::matches(model::without_share(filter), name.as_str());
        assert_eq!(parsed.matches(name), expected, "{name:?} and {filter:?}");
        let own = TopicFilter::new(name.as_str()).is_ok_and(|own| {
            // A name that begins with a share prefix is another filter than it looks like.
            own.share_name().is_some() || own.matches(name)
        });
        assert!(own || !model::is_filter(name.as_str()), "{name:?} does not match itself");
    }
}

/// The parts of a filter put together are the filter.
fn check_parts(text: &str, filter: TopicFilter<'_>) {
    assert_eq!(filter.as_str(), text);
    assert_eq!(filter.filter(), model::without_share(text));
    assert_eq!(filter.levels().collect::<Vec<_>>().join("/"), filter.filter());
    assert_eq!(filter.has_wildcard(), text.contains(['+', '#']));
    if let Some(name) = filter.share_name() {
        assert_eq!(format!("$share/{}/{}", name.as_str(), filter.filter()), text);
    } else {
        assert_eq!(filter.filter(), text);
    }
}
