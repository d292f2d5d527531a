//! The program's own choice of topic aliases, made where nothing is locked.

use noctule_client_core::Publication;
use noctule_packet::Version;

use crate::shared::Shared;

/// Chooses topic aliases: numbers that stand for long topics; 5.0 only. What the server knows of
/// them already, and how many it takes, the client knows.
///
/// ```
/// use noctule_client::Client;
///
/// let builder = Client::builder("mqtt://localhost").alias_resolver(|topic: &str| match topic {
///     "plant/north/hall/7/temperature" => Some(1),
///     "plant/north/hall/7/humidity" => Some(2),
///     _ => None,
/// });
/// ```
pub trait AliasResolver: Send + Sync {
    /// The alias for a message to this topic that is being published; `None` or 0 for none. One
    /// that the server does not take is left out.
    fn alias(&self, topic: &str) -> Option<u16>;
}

impl<F: Fn(&str) -> Option<u16> + Send + Sync> AliasResolver for F {
    fn alias(&self, topic: &str) -> Option<u16> {
        self(topic)
    }
}

impl Shared {
    /// A publication with the alias that the program's own choice gives it, if it gives one.
    pub(crate) fn with_alias<'p>(&self, publication: &Publication<'p>) -> Option<Publication<'p>> {
        let resolver = self.extensions().alias_resolver.as_ref()?;
        if publication.properties.topic_alias.is_some() {
            return None;
        }
        if self.with(|inner| inner.hub.session().version()) != Version::V5_0 {
            return None;
        }
        let alias = resolver.alias(publication.topic.as_str()).filter(|alias| *alias > 0)?;
        let mut publication = publication.clone();
        publication.properties.topic_alias = Some(alias);
        Some(publication)
    }
}
