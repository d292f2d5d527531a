//! Time: how long the server may be silent, when we have to say something, and whose time is up.

use core::time::Duration;

use noctule_packet::{Pingreq, ReasonCode};
use noctule_session::Timestamp;

use crate::auth::AuthError;
use crate::ended::Ended;
use crate::observe::Observation;
use crate::operation::{Doubt, DropCause, OperationId};
use crate::outgoing::earlier;
use crate::session::{ClientSession, Status};

/// The moments of one connection.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// CONNACK is due, or the end of a later authentication.
    connack_due: Option<Timestamp>,
    /// We authenticate again.
    again_due: Option<Timestamp>,
    keep_alive: Option<Duration>,
    last_written: Timestamp,
    last_heard: Timestamp,
    last_ping: Timestamp,
    /// Something has to be heard until then.
    silence_ends: Option<Timestamp>,
    /// Whether that moment was put off, because nobody was there when it came.
    is_put_off: bool,
    /// PINGRESPs that are due, and when the first of their PINGREQs was made.
    pings: u32,
    first_ping: Timestamp,
    /// Where the last PINGREQ ends, counted from the connection's first byte.
    ping_end: u64,
    /// Until when a connection that ends may write what is left.
    closing_ends: Option<Timestamp>,
}

/// A timer that comes so late was held up: by a browser that lets the tabs behind others wait, or
/// because the process stood still. What the server has said meanwhile is read first, in this time.
const LATE: Duration = Duration::from_secs(1);

/// How long a connection that ends may take to write what is left, DISCONNECT last.
const CLOSING_MAX: Duration = Duration::from_secs(2);

impl Clocks {
    pub(crate) fn begin(&mut self, now: Timestamp, connect_timeout: Option<Duration>) {
        *self = Self {
            connack_due: connect_timeout.map(|timeout| now + timeout),
            last_written: now,
            last_heard: now,
            last_ping: now,
            ..Self::default()
        };
    }

    // [MQTT5-3.1.2-21] [MQTT5-3.2.2-21]
    pub(crate) fn connected(&mut self, now: Timestamp, keep_alive: u16) {
        self.connack_due = None;
        self.keep_alive = (keep_alive > 0).then(|| Duration::from_secs(keep_alive.into()));
        self.last_heard = now;
    }

    /// An authentication begins that is over at some time, or one is over.
    pub(crate) fn authenticate(&mut self, due: Option<Timestamp>) {
        self.connack_due = due;
    }

    /// The server knows who we are, for so long.
    pub(crate) fn authenticate_again(&mut self, now: Timestamp, every: Option<Duration>) {
        self.again_due = every.map(|every| now + every);
    }

    #[inline]
    pub(crate) fn heard(&mut self, now: Timestamp) {
        self.last_heard = now;
        self.silence_ends = None;
    }

    /// The connection is to end.
    pub(crate) fn close(&mut self, now: Timestamp) {
        self.closing_ends = Some(now + CLOSING_MAX);
    }

    pub(crate) const fn last_heard(&self) -> Timestamp {
        self.last_heard
    }

    pub(crate) fn written(&mut self, now: Timestamp) {
        self.last_written = now;
    }

    /// PINGREQ, which ends here in what is sent.
    fn pinged(&mut self, now: Timestamp, end: u64) {
        if self.pings == 0 {
            self.first_ping = now;
        }
        (self.last_ping, self.ping_end) = (now, end);
        self.pings = self.pings.saturating_add(1);
    }

    /// PINGRESP. How long it took, if it was due: with more than two on their way, only that it was
    /// not longer.
    pub(crate) fn ping_answered(&mut self, now: Timestamp) -> Option<Duration> {
        let left = self.pings.checked_sub(1)?;
        let sent = if left == 0 { self.last_ping } else { self.first_ping };
        self.pings = left;
        if left == 1 {
            self.first_ping = self.last_ping;
        }
        Some(now.since(sent))
    }

    pub(crate) fn reads_again(&mut self, now: Timestamp, ping_timeout: Option<Duration>) {
        if self.silence_ends.is_some() {
            self.silence_ends = ping_timeout.map(|timeout| now + timeout);
        }
    }

    /// Puts the end of the silence off, once, if it is noticed too late.
    fn put_off_if_late(&mut self, now: Timestamp) -> bool {
        let is_late = self.silence_ends.is_some_and(|ends| now.since(ends) >= LATE);
        if is_late && !self.is_put_off {
            (self.is_put_off, self.silence_ends) = (true, Some(now + LATE));
            return true;
        }
        false
    }

    /// When a PINGREQ is due: nothing was written, or nothing heard, for a whole interval.
    // [MQTT5-3.1.2-20] [MQTT311-3.1.2-23]
    fn ping_due(&self) -> Option<Timestamp> {
        let idle_since = self.last_written.min(self.last_heard).max(self.last_ping);
        Some(idle_since + self.keep_alive?)
    }
}

impl ClientSession {
    /// When [`ClientSession::on_timeout`] is to be called, unless something else happens before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let operation = self.deadlines.first().map(|(deadline, _)| *deadline);
        let clocks = &self.clocks;
        let connection = match self.status {
            Status::Connecting => clocks.connack_due,
            Status::Online => {
                let authentication = earlier(clocks.connack_due, clocks.again_due);
                let silence = earlier(clocks.ping_due(), clocks.silence_ends);
                earlier(self.stall_ends(), earlier(authentication, silence))
            }
            Status::Closing => clocks.closing_ends,
            Status::Offline => None,
        };
        earlier(operation, connection)
    }

    /// CONNACK is due at this moment at the latest, if it has not come.
    pub fn connect_by(&mut self, at: Timestamp) {
        if self.status == Status::Connecting {
            self.clocks.connack_due = earlier(self.clocks.connack_due, Some(at));
        }
    }

    /// A connection that is about to end writes nothing any more after this moment.
    pub fn close_by(&mut self, at: Timestamp) {
        self.clocks.closing_ends = earlier(self.clocks.closing_ends, Some(at));
    }

    /// A moment has come that [`ClientSession::poll_timeout`] named. It does no harm too early.
    pub fn on_timeout(&mut self, now: Timestamp) {
        while let Some(&(deadline, operation)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            self.time_is_up(now, operation);
        }
        let is_due = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= now);
        match self.status {
            Status::Connecting if is_due(self.clocks.connack_due) => {
                self.end(now, None, Ended::ConnectTimeout);
            }
            Status::Online if is_due(self.clocks.connack_due) => {
                let error = AuthError::new("no answer in time");
                self.end(now, Some(ReasonCode::NotAuthorized), Ended::Authentication(error));
            }
            Status::Online if is_due(self.stall_ends()) => self.break_stall(now),
            Status::Online if is_due(self.clocks.again_due) => {
                self.clocks.authenticate_again(now, None);
                // If one is under way already, its end sets the time of the next.
                let _ = self.reauthenticate(now);
            }
            Status::Online if is_due(self.clocks.silence_ends) => self.silent_too_long(now),
            Status::Online if is_due(self.clocks.ping_due()) => self.send_ping(now),
            Status::Closing if is_due(self.clocks.closing_ends) => {
                // Whoever has not read until now will not.
                self.clocks.closing_ends = None;
                self.outbound.discard();
            }
            _ => {}
        }
        self.pump(now);
    }

    /// A user's time-out, or the age of a message that waits.
    fn time_is_up(&mut self, now: Timestamp, operation: OperationId) {
        let waiting = self.queue.find(operation);
        let is_expired = waiting
            .is_some_and(|outgoing| outgoing.discarded.is_some_and(|discarded| discarded <= now));
        let unsent = if is_expired { DropCause::Expired } else { DropCause::TimedOut };
        self.give_up(operation, unsent, Doubt::TimedOut);
    }

    fn silent_too_long(&mut self, now: Timestamp) {
        if self.clocks.put_off_if_late(now) {
            return;
        }
        // Nothing is read from a server that reads nothing, so that one cannot be heard either.
        if self.takes_more() && !self.ping_waits(now) || self.is_unheeded(now) {
            return self.end(now, None, Ended::PingTimeout);
        }
        // What is not read cannot be heard, and what is not written cannot be answered.
        self.clocks.reads_again(now, self.settings.ping_timeout);
    }

    /// Whether the transport is still taking what stands before the ping: a large message.
    fn ping_waits(&self, now: Timestamp) -> bool {
        self.outbound.written() < self.clocks.ping_end && !self.takes_nothing(now)
    }

    /// Whether the transport has taken nothing for as long as a ping may take, of more than is kept
    /// for it.
    fn is_unheeded(&self, now: Timestamp) -> bool {
        self.takes_nothing(now) && self.outbound_is_excessive()
    }

    fn takes_nothing(&self, now: Timestamp) -> bool {
        let last_written = self.clocks.last_written;
        self.settings.ping_timeout.is_some_and(|most| now.since(last_written) >= most)
    }

    /// Asks the server for a sign of life now, unless it owes one already: how long it takes is
    /// told by an [`Event::PingAnswered`](crate::Event::PingAnswered), and that it takes too long
    /// ends the connection. Whether there is one.
    pub fn ping(&mut self, now: Timestamp) -> bool {
        let is_online = self.status == Status::Online;
        if is_online && self.clocks.pings == 0 {
            self.send_ping(now);
        }
        is_online
    }

    fn send_ping(&mut self, now: Timestamp) {
        let _ = Pingreq.encode(self.version, self.outbound.bytes_mut());
        self.events.observe(Observation::PingSent);
        let ping_end = self.outbound.position();
        let clocks = &mut self.clocks;
        clocks.pinged(now, ping_end);
        if clocks.silence_ends.is_none() {
            clocks.silence_ends = self.settings.ping_timeout.map(|timeout| now + timeout);
            clocks.is_put_off = false;
        }
    }
}
