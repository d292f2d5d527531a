//! Interceptors: code of the program's that every message passes, on its way out and in, and every
//! request for a subscription or its end.

use std::error::Error;
use std::sync::Arc;

use noctule_client_core::{Message, Publication};
use noctule_packet::Version;

use crate::draft::Draft;
use crate::error::PublishError;
use crate::request_draft::{SubscribeDraft, UnsubscribeDraft};
use crate::subscription::Incoming;

/// What becomes of a message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes on to the next interceptor, and in the end to its user.
    Passed,
    /// Nobody sees it. It is acknowledged.
    FilteredOut,
}

/// Sees, changes, refuses or filters out messages, and sees, changes or refuses what is asked about
/// subscriptions.
///
/// Outgoing messages pass when they are handed over, before they are accepted and stored, on the
/// thread of the caller of `send`. Incoming messages pass when they are taken out of a stream, on
/// the thread of whoever takes them; for a handler, that is its own. A message for several streams
/// passes once for each. Subscriptions pass when they are asked for, on the thread of whoever asks;
/// what the server answers, [`ClientEvent::Subscribed`](crate::ClientEvent::Subscribed) and
/// [`ClientEvent::Unsubscribed`](crate::ClientEvent::Unsubscribed) tell. Nothing of the client is
/// locked meanwhile, so every call is allowed.
///
/// What the client asks for by itself passes nobody: where answers to
/// [requests](crate::generic::Client::request) come, what the server has forgotten, and what goes
/// back to how it was before.
///
/// Of several, the one that was given first is the nearest to the user: outgoing messages pass it
/// first, incoming ones last. So two that undo each other's work, such as compressing and then
/// encrypting, are given in the order of what is sent.
///
/// A panic is one of the caller's: nothing is published or asked for, or the message is not seen,
/// and refused where its user would have acknowledged it. The client goes on.
///
/// # A trace context in the user properties
///
/// ```
/// use std::error::Error;
///
/// use noctule_client::{Client, Draft, Interceptor, Message, Passage};
///
/// /// Carries the W3C trace context from one program to the next.
/// struct TraceContext;
///
/// # fn current_context() -> Option<String> { None }
/// # fn continue_from(_: &str) {}
/// impl Interceptor for TraceContext {
///     fn outgoing(
///         &self,
///         message: &mut Draft<'_>,
///     ) -> Result<(), Box<dyn Error + Send + Sync>> {
///         // Older versions have no user properties.
///         if message.version().is_v5() && let Some(context) = current_context() {
///             message.add_user_property("traceparent", &context)?;
///         }
///         Ok(())
///     }
///
///     fn incoming(&self, message: &mut Message) -> Passage {
///         let properties = message.properties();
///         let mut pairs = properties.user_properties.iter();
///         if let Some((_, context)) = pairs.find(|(name, _)| *name == "traceparent") {
///             continue_from(context);
///         }
///         Passage::Passed
///     }
/// }
///
/// let builder = Client::builder("mqtt://localhost").interceptor(TraceContext);
/// ```
pub trait Interceptor: Send + Sync {
    /// A message is about to be published.
    ///
    /// # Errors
    ///
    /// If it must not be. The caller of `send` gets
    /// [`PublishError::Intercepted`](crate::PublishError::Intercepted), with this in it.
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = message;
        Ok(())
    }

    /// A message is about to be given to its user.
    fn incoming(&self, message: &mut Message) -> Passage {
        let _ = message;
        Passage::Passed
    }

    /// Subscriptions are about to be asked for, by a stream or a route.
    ///
    /// # Errors
    ///
    /// If they must not be. The caller gets
    /// [`SubscribeError::Intercepted`](crate::SubscribeError::Intercepted), with this in it.
    fn subscribing(
        &self,
        request: &mut SubscribeDraft,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = request;
        Ok(())
    }

    /// Subscriptions are about to be ended, because a stream or a handler ends that was their last,
    /// or because that is wanted of the client.
    ///
    /// # Errors
    ///
    /// If they must not be: they stay. The caller gets
    /// [`UnsubscribeError::Intercepted`](crate::UnsubscribeError::Intercepted), with this in it;
    /// whoever has ended a handler is told nothing.
    fn unsubscribing(
        &self,
        request: &mut UnsubscribeDraft,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = request;
        Ok(())
    }
}

impl<I: Interceptor + ?Sized> Interceptor for Arc<I> {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).outgoing(message)
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        (**self).incoming(message)
    }

    fn subscribing(
        &self,
        request: &mut SubscribeDraft,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).subscribing(request)
    }

    fn unsubscribing(
        &self,
        request: &mut UnsubscribeDraft,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).unsubscribing(request)
    }
}

/// What is to be published in place of a message.
pub(crate) fn outgoing<'p>(
    interceptors: &[Arc<dyn Interceptor>],
    publication: &Publication<'p>,
    version: Version,
) -> Result<Draft<'p>, PublishError> {
    let mut draft = Draft::new(publication, version);
    for interceptor in interceptors {
        interceptor.outgoing(&mut draft).map_err(PublishError::Intercepted)?;
    }
    Ok(draft)
}

/// What the user is given of a message; `None` if it is filtered out. If an interceptor panics, it
/// is dropped, and so refused if its user was to acknowledge it.
pub(crate) fn incoming(
    interceptors: &[Arc<dyn Interceptor>],
    mut incoming: Incoming,
) -> Option<Incoming> {
    for interceptor in interceptors.iter().rev() {
        if interceptor.incoming(incoming.message_mut()) == Passage::FilteredOut {
            incoming.acknowledge();
            return None;
        }
    }
    Some(incoming)
}
