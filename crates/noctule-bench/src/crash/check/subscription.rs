//! When a client was subscribed to a group of topics: certainly, and possibly.

use noctule_packet::QoS;

use super::Place;
use crate::crash::journal::Group;

/// A subscription from the request that made it to the answer that ended it.
#[derive(Debug)]
struct Span {
    group: Group,
    qos: QoS,
    asked: Place,
    /// SUBACK.
    granted: Option<Place>,
    end_asked: Option<Place>,
    /// UNSUBACK, or a new session.
    ended: Option<Place>,
    /// It was in a session that has ended: nothing that waited for it may come any more.
    is_gone: bool,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    spans: Vec<Span>,
    /// Where the session was last asked to end: what waited for it then is not owed any more.
    cleaned: Place,
}

impl Subscriptions {
    pub(super) fn on_subscribe(&mut self, group: Group, qos: QoS, now: Place) {
        let is_there =
            |span: &Span| span.group == group && span.end_asked.is_none() && span.ended.is_none();
        if !self.spans.iter().any(is_there) {
            self.spans.push(Span {
                group,
                qos,
                asked: now,
                granted: None,
                end_asked: None,
                ended: None,
                is_gone: false,
            });
        }
    }

    pub(super) fn on_suback(&mut self, group: Group, granted: Option<QoS>, now: Place) {
        let Some(span) = self.spans.iter_mut().rfind(|span| span.group == group) else { return };
        match granted {
            Some(qos) if span.granted.is_none() => {
                span.granted = Some(now);
                span.qos = qos;
            }
            Some(_) => {}
            None => span.ended = Some(now),
        }
    }

    pub(super) fn on_unsubscribe(&mut self, group: Group, now: Place) {
        for span in self.spans.iter_mut().filter(|span| span.group == group) {
            span.end_asked.get_or_insert(now);
        }
    }

    pub(super) fn on_unsuback(&mut self, group: Group, now: Place) {
        for span in self.spans.iter_mut().filter(|span| span.group == group) {
            if span.end_asked.is_some() {
                span.ended.get_or_insert(now);
            }
        }
    }

    /// The session is asked to end.
    pub(super) fn on_clean(&mut self, now: Place) {
        self.cleaned = now;
        for span in &mut self.spans {
            span.end_asked.get_or_insert(now);
        }
    }

    /// The session has ended as it should.
    pub(super) fn on_end(&mut self, now: Place) {
        self.on_clean(now);
        self.on_loss(now);
    }

    /// The session is not there any more. What was promised stays owed, though it cannot come.
    pub(super) fn on_loss(&mut self, now: Place) {
        for span in &mut self.spans {
            span.ended.get_or_insert(now);
            span.is_gone = true;
        }
    }

    /// At which QoS a message must come that was sent and acknowledged there, if it must.
    pub(super) fn owed(&self, group: Group, sent: Place, acknowledged: Place) -> Option<QoS> {
        let owes = |span: &&Span| {
            span.group == group
                && span.granted.is_some_and(|granted| granted < sent && granted > self.cleaned)
                && span.end_asked.is_none_or(|end| acknowledged < end)
        };
        self.spans.iter().find(owes).map(|span| span.qos)
    }

    /// At which QoS a message may come that the broker has got at some time from `sent` on, until
    /// `taken` if that is known.
    pub(super) fn allowed(
        &self,
        group: Group,
        sent: Place,
        taken: Option<Place>,
    ) -> impl Iterator<Item = QoS> {
        let allows = move |span: &&Span| {
            span.group == group
                && !span.is_gone
                && taken.is_none_or(|taken| span.asked < taken)
                && span.ended.is_none_or(|end| sent < end)
        };
        self.spans.iter().filter(allows).map(|span| span.qos)
    }
}
