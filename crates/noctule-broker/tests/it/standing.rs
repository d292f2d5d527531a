//! A broker of two shards, one of which stands still for as long as a test wants, so that what is
//! on its way to it, or from it, can be known and need not be hit by luck.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use noctule_broker::{Broker, Handle, QoS, ReadRules};
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer, packet_bytes};

use crate::shards::{Homes, start};
use crate::{DEADLINE, wait};

/// What stops the thread that delivers it: the first shard's, or the second's.
pub(crate) const STAND_STILL: [&str; 2] = ["stand still/first", "stand still/second"];

/// See above.
pub(crate) struct Standing {
    pub(crate) broker: Handle,
    pub(crate) address: SocketAddr,
    /// The one client that is connected, on the first shard, which also accepts.
    pub(crate) near: Peer,
    /// Names that are at home on the first shard, and on the second.
    pub(crate) near_names: Vec<String>,
    pub(crate) far_names: Vec<String>,
    entered: Receiver<()>,
    go_on: Sender<()>,
}

impl Standing {
    /// Both shards run, and the second one has no connection.
    pub(crate) fn new() -> Self {
        let ((enter, entered), (go_on, may_go_on)) = (channel(), channel());
        let may_go_on = Mutex::new(may_go_on);
        let homes = Homes::default();
        let rules = homes.rules();
        let rules = ReadRules(Arc::new(move |client_id: &str, topic: &str| {
            if STAND_STILL.contains(&topic) {
                enter.send(()).unwrap();
                may_go_on.lock().unwrap().recv_timeout(4 * DEADLINE).unwrap();
            }
            (rules.0)(client_id, topic)
        }));
        let (broker, address) = start(Broker::builder().read_rules(rules), 2);
        let [near, far] = &mut homes.fill(address, 2, 8, "t")[..] else { panic!("two shards") };
        let near_names = near.iter().map(|(name, _)| name.clone()).collect();
        let mut far_names: Vec<_> = far.iter().map(|(name, _)| name.clone()).collect();
        for (_, peer) in near.drain(1..).chain(far.drain(..)) {
            peer.disconnect();
        }
        let mut sleeper = Peer::connect(address);
        let name = far_names.pop().unwrap();
        sleeper.open(&OwnedConnect::v5(&name).resumable(3_600));
        sleeper.subscribe(&[(STAND_STILL[1], QoS::AtLeastOnce)]);
        sleeper.disconnect();
        let near = near.remove(0).1;
        while wait(broker.statistics()).unwrap().1.connections > 1 {}
        Self { broker, address, near, near_names, far_names, entered, go_on }
    }

    /// Lets the second shard stand still at a message, which is not acknowledged before it goes on.
    pub(crate) fn stand_still(&mut self) {
        let publish = OwnedPublish::new(STAND_STILL[1], "", QoS::AtLeastOnce).packet_id(1);
        self.near.send_publish(&publish);
        self.stands_still();
    }

    /// Waits until one of the shards stands still.
    pub(crate) fn stands_still(&self) {
        self.entered.recv_timeout(DEADLINE).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }

    /// Two sockets that come in one after the other, with a CONNECT for the first shard: that one
    /// serves the one, and the other waits for the second shard. Which came in first is said too.
    pub(crate) fn arrive(&self, names: &[String]) -> (TcpStream, TcpStream, bool) {
        let mut streams = names.iter().take(2).map(|name| {
            let mut stream = TcpStream::connect(self.address).unwrap();
            let connect = packet_bytes(0x10, &format!("s'MQTT' 04 02 0000 s'{name}'"));
            stream.write_all(&connect).unwrap();
            stream
        });
        let pair = [streams.next().unwrap(), streams.next().unwrap()];
        let first_is_served = answered(&pair) == 0;
        let [first, second] = pair;
        if first_is_served { (first, second, true) } else { (second, first, false) }
    }
}

/// Which of two sockets is answered first.
pub(crate) fn answered(pair: &[TcpStream; 2]) -> usize {
    let end = Instant::now() + DEADLINE;
    pair.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let is_answered = |stream: &TcpStream| stream.peek(&mut [0]).is_ok_and(|count| count > 0);
    let found = loop {
        if let Some(found) = pair.iter().position(is_answered) {
            break found;
        }
        assert!(Instant::now() < end, "neither is answered");
        thread::yield_now();
    };
    for stream in pair {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
    }
    found
}
