//! What the clients of a crash test saw and did, in one order: all that the checker knows.
//!
//! An event stands where a client asked for something or learned something. So whatever stands
//! before a request was known when it was made, which is what the promises are about.

use noctule_packet::QoS;

/// A client's place in the cast.
pub(super) type ClientIndex = usize;

/// A group of topics with one topic filter.
pub(super) type Group = u8;

/// A topic of one publisher, with messages of one quality of service, numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) publisher: ClientIndex,
    pub(super) group: Group,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

/// One message: its stream's place in the list of streams, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) stream: usize,
    pub(super) number: u32,
}

/// When the will of a connection is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Will {
    /// As soon as the connection ends.
    AtOnce,
    /// Shortly after the connection ends, unless the client comes back before.
    Soon,
    /// Long after every test is over, so never.
    Late,
}

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) connection: u32,
    pub(super) clean_start: bool,
    /// The session outlives the connection.
    pub(super) is_stored: bool,
    pub(super) will: Option<Will>,
}

/// How a PUBLISH came to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) qos: QoS,
    pub(super) dup: bool,
    /// At QoS 2: under an identifier that brought this very message and is not released yet.
    pub(super) is_repetition: bool,
    /// For whoever reads the journal; 0 at QoS 0.
    pub(super) packet_id: u16,
}

/// One line of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    // The broker.
    /// It was ended, and all that it had written has been read.
    Stopped,
    /// It is up again, and what was under way has been finished: from here on messages are sent to
    /// see who still gets them.
    Aftermath,
    /// Whatever is still missing now is lost.
    Settled,

    // Connections.
    Connect {
        client: ClientIndex,
        opening: Opening,
    },
    Connack {
        client: ClientIndex,
        session_present: bool,
    },
    /// The broker does not let it in.
    Refused {
        client: ClientIndex,
    },
    /// The client sent DISCONNECT.
    Disconnect {
        client: ClientIndex,
    },
    /// The client closed its side without DISCONNECT.
    Drop {
        client: ClientIndex,
    },
    /// After one of these two the broker has closed its side, too.
    Ended {
        client: ClientIndex,
    },
    /// The broker closed a connection for no reason known here.
    Kicked {
        client: ClientIndex,
    },

    // Subscriptions.
    Subscribe {
        client: ClientIndex,
        group: Group,
        qos: QoS,
    },
    /// `granted` is `None` if the broker refused.
    Suback {
        client: ClientIndex,
        group: Group,
        granted: Option<QoS>,
    },
    Unsubscribe {
        client: ClientIndex,
        group: Group,
    },
    Unsuback {
        client: ClientIndex,
        group: Group,
    },

    // Publishers.
    Publish {
        message: Message,
    },
    /// PUBREC.
    Received {
        message: Message,
    },
    /// PUBACK or PUBCOMP.
    Completed {
        message: Message,
    },
    /// A reason code that is a failure.
    Rejected {
        message: Message,
    },
    /// The publisher's session is gone, and with it the exchange.
    GivenUp {
        message: Message,
    },

    // Subscribers.
    Arrived {
        client: ClientIndex,
        message: Message,
        arrival: Arrival,
    },
    /// PUBREL, for whoever reads the journal.
    Released {
        client: ClientIndex,
        packet_id: u16,
    },
    /// A QoS 2 message under the identifier of another one that is not released.
    Swallowed {
        client: ClientIndex,
        message: Message,
    },
    /// A message that nobody sent.
    Garbled {
        client: ClientIndex,
    },

    // Retained messages.
    /// A client without a session asks for all of them.
    Look {
        look: u32,
    },
    Retained {
        look: u32,
        message: Message,
    },

    // Wills.
    WillArrived {
        connection: u32,
        arrival: Arrival,
    },
}
