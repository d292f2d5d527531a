//! What a peer expects when no packet shall come: the end of the connection, or nothing at all.

use std::time::{Duration, Instant};

use noctule_packet::{Packet, ReasonCode};

use crate::arrival::Arrival;
use crate::send::is_closed;
use crate::{OwnedPublish, Peer, Stream};

/// How conversations end, and what does not happen in them.
impl<S: Stream> Peer<S> {
    /// Expects that a server ends the connection for this reason: in 5.0 by DISCONNECT and an
    /// orderly end, before 5.0 by an orderly end alone.
    #[track_caller]
    pub fn expect_refused(&mut self, reason: ReasonCode) {
        if self.version.is_v5() {
            self.expect_disconnect(reason);
        }
        self.expect_closed();
    }

    /// Expects the orderly end of the connection, without another packet and without a reset.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let deadline = self.deadline();
        match self.next_arrival(deadline) {
            Arrival::Closed => {}
            other => self.fail_at("the orderly end of the connection", &other),
        }
    }

    /// Expects the end of the connection, orderly or by a reset, without another packet.
    #[track_caller]
    pub fn expect_closed_or_reset(&mut self) {
        let deadline = self.deadline();
        match self.next_arrival(deadline) {
            Arrival::Closed => {}
            Arrival::Broken(error) if is_closed(error.kind()) => {}
            other => self.fail_at("the end of the connection", &other),
        }
    }

    /// Expects that nothing arrives for so long, not even a byte. This costs the whole time, and a
    /// slow machine makes it pass: prefer
    /// [`expect_nothing_before_pong`](Self::expect_nothing_before_pong).
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) {
        let deadline = Instant::now() + duration;
        match self.next_arrival(deadline) {
            Arrival::Nothing if self.part_of_a_packet() == 0 => {}
            other => self.fail_at(&format!("silence for {duration:?}"), &other),
        }
    }

    /// Sends PINGREQ and returns the PUBLISH packets that come before PINGRESP, unacknowledged; any
    /// other packet fails the test.
    #[track_caller]
    pub fn publishes_before_pong(&mut self) -> Vec<OwnedPublish> {
        self.send_pingreq();
        let mut publishes = Vec::new();
        let wanted = "PUBLISH or PINGRESP";
        while let Some(publish) = self.expect_with(wanted, |packet| match packet {
            Packet::Publish(publish) => Some(Some(OwnedPublish::copy_of(publish))),
            Packet::Pingresp => Some(None),
            _ => None,
        }) {
            publishes.push(publish);
        }
        publishes
    }

    /// Sends PINGREQ and expects that PINGRESP is the next packet. A server answers in order, so
    /// what it had to send before has not been sent; nothing is waited for.
    #[track_caller]
    pub fn expect_nothing_before_pong(&mut self) {
        self.send_pingreq();
        self.expect_with("nothing before PINGRESP", |packet| {
            matches!(packet, Packet::Pingresp).then_some(())
        });
    }
}
