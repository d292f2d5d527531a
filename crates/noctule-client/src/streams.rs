//! What can be waited for again and again, as streams that everybody knows.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use noctule_client_core::ClientEvent;

use crate::events::Events;
use crate::mode::Async;
use crate::route::{Routed, RoutedMessage};
use crate::subscription::{Incoming, Subscription};

impl Stream for Subscription<Async> {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.poll_recv(context)
    }
}

impl Stream for Routed<Async> {
    type Item = RoutedMessage;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<RoutedMessage>> {
        self.poll_recv(context)
    }
}

impl Stream for Events<Async> {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.poll_recv(context)
    }
}
