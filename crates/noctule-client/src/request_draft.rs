//! Subscriptions that are about to be asked for or ended, and may still be changed.

use std::error::Error;

use noctule_packet::{EncodeError, SubscriptionOptions, UserProperties, Version};

use crate::shared::Shared;

/// Subscriptions that are about to be asked for, as an [`Interceptor`](crate::Interceptor) sees
/// them.
#[derive(Clone, Debug)]
pub struct SubscribeDraft {
    pub(crate) subscriptions: Vec<(String, SubscriptionOptions)>,
    pub(crate) identifier: Option<u32>,
    pub(crate) user_properties: UserProperties<'static>,
    version: Version,
}

/// Subscriptions that are about to be ended, as an [`Interceptor`](crate::Interceptor) sees them.
#[derive(Clone, Debug)]
pub struct UnsubscribeDraft {
    pub(crate) filters: Vec<String>,
    pub(crate) user_properties: UserProperties<'static>,
    version: Version,
}

impl SubscribeDraft {
    /// The version that is spoken, or will be. Before 5.0 there are no properties.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The topic filters, and what is asked for each of them.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&str, &SubscriptionOptions)> {
        self.subscriptions.iter().map(|(filter, options)| (&**filter, options))
    }

    /// The same, to be changed. What is made of a filter has to be one, or there is no
    /// subscription. The stream gets what the changed filter matches, by the topics that the server
    /// names; a route finds its names in the topic that the interceptors leave of it.
    pub fn subscriptions_mut(
        &mut self,
    ) -> impl Iterator<Item = (&mut String, &mut SubscriptionOptions)> {
        self.subscriptions.iter_mut().map(|(filter, options)| (filter, options))
    }

    /// The number that comes with every message.
    pub const fn identifier(&self) -> Option<u32> {
        self.identifier
    }

    /// Changes the number that comes with every message.
    pub const fn set_identifier(&mut self, identifier: Option<u32>) {
        self.identifier = identifier;
    }

    /// The user properties.
    pub const fn user_properties(&self) -> &UserProperties<'static> {
        &self.user_properties
    }

    /// Adds a user property.
    ///
    /// # Errors
    ///
    /// If name or value is too long, or has a null character.
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        self.user_properties.push(name, value)
    }

    /// Changes all user properties.
    pub fn set_user_properties(&mut self, properties: UserProperties<'static>) {
        self.user_properties = properties;
    }
}

impl UnsubscribeDraft {
    /// The version that is spoken, or will be. Before 5.0 there are no properties.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The topic filters, by the names that the program has for them: what an interceptor has made
    /// of them when they were subscribed to, it makes of them again.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|filter| &**filter)
    }

    /// The same, to be changed.
    pub fn filters_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.filters.iter_mut()
    }

    /// The user properties.
    pub const fn user_properties(&self) -> &UserProperties<'static> {
        &self.user_properties
    }

    /// Adds a user property.
    ///
    /// # Errors
    ///
    /// If name or value is too long, or has a null character.
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        self.user_properties.push(name, value)
    }

    /// Changes all user properties.
    pub fn set_user_properties(&mut self, properties: UserProperties<'static>) {
        self.user_properties = properties;
    }
}

impl Shared {
    /// What the interceptors make of subscriptions that are to be asked for.
    pub(crate) fn intercept_subscribe(
        &self,
        subscriptions: Vec<(String, SubscriptionOptions)>,
        identifier: Option<u32>,
        user_properties: UserProperties<'static>,
    ) -> Result<SubscribeDraft, Box<dyn Error + Send + Sync>> {
        let version = self.with(|inner| inner.hub.session().version());
        let mut draft = SubscribeDraft { subscriptions, identifier, user_properties, version };
        let interceptors = &self.extensions().interceptors;
        interceptors.iter().try_for_each(|it| it.subscribing(&mut draft))?;
        Ok(draft)
    }

    /// What they make of subscriptions that are to end.
    pub(crate) fn intercept_unsubscribe(
        &self,
        filters: Vec<String>,
        user_properties: UserProperties<'static>,
    ) -> Result<UnsubscribeDraft, Box<dyn Error + Send + Sync>> {
        let version = self.with(|inner| inner.hub.session().version());
        let mut draft = UnsubscribeDraft { filters, user_properties, version };
        let interceptors = &self.extensions().interceptors;
        interceptors.iter().try_for_each(|it| it.unsubscribing(&mut draft))?;
        Ok(draft)
    }
}
