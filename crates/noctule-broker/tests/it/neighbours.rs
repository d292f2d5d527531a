//! Two correct clients that talk to each other while others do what no client should.

use std::net::SocketAddr;

use noctule_broker::QoS;
use noctule_testkit::Peer;

/// They must never notice what others do.
pub(crate) struct Neighbours {
    reader: Peer,
    writer: Peer,
    count: usize,
}

impl Neighbours {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut reader = Peer::v5(address, "reader");
        reader.subscribe(&[("neighbours", QoS::ExactlyOnce)]);
        Self { reader, writer: Peer::v311(address, "writer"), count: 0 }
    }

    /// One message goes from the one to the other, at QoS 2.
    #[track_caller]
    pub(crate) fn are_served(&mut self) {
        self.count += 1;
        let text = self.count.to_string();
        self.writer.publish("neighbours", &text, QoS::ExactlyOnce);
        assert_eq!(self.reader.receive().text(), text);
        // The broker has got the last acknowledgement, too: nothing of theirs is in flight.
        self.reader.expect_nothing_before_pong();
    }
}
