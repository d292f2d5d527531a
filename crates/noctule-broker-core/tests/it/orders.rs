//! Many orders in which things can happen that happen at once: what shards say to each other, and
//! what clients do meanwhile.

use noctule_packet::{Framing, Packet, PacketType, TextRules, split};
use noctule_testkit::OwnedPublish;

use crate::broker::{Broker, Client};

/// The choices of one run, made by chance.
#[derive(Debug)]
pub(crate) struct Choices {
    state: u64,
}

impl Choices {
    /// One of so many.
    pub(crate) fn choose(&mut self, count: usize) -> usize {
        // The numbers of Marsaglia's xorshift are random enough here.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % count
    }
}

/// Runs so many times with an order that chance makes, the same ones each time the tests run.
pub(crate) fn random_orders(count: u64, mut run: impl FnMut(&mut Choices)) {
    for seed in 1..=count {
        run(&mut Choices { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) });
    }
}

/// Something that a client does.
pub(crate) type Act<'a> = Box<dyn FnOnce() + 'a>;

/// Lets clients act, each list in its order, while letters are carried, in the order chosen, until
/// nothing is left to do. What happened, for those who look for the reason of a failure.
pub(crate) fn play<'a>(
    broker: &Broker,
    choices: &mut Choices,
    acts: Vec<Vec<(&'static str, Act<'a>)>>,
) -> Vec<String> {
    let mut acts: Vec<_> = acts.into_iter().map(|list| list.into_iter().peekable()).collect();
    let mut said = Vec::new();
    loop {
        let mut pairs: Vec<_> =
            broker.letters().into_iter().map(|(from, to, _)| (from, to)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let ready: Vec<usize> =
            (0..acts.len()).filter(|at| acts[*at].peek().is_some()).collect::<Vec<_>>();
        let count = ready.len() + pairs.len();
        if count == 0 {
            return said;
        }
        let chosen = if count == 1 { 0 } else { choices.choose(count) };
        match ready.get(chosen) {
            Some(at) => {
                let (name, act) = acts[*at].next().expect("it was ready");
                said.push(name.to_owned());
                act();
            }
            None => {
                let (from, to) = pairs[chosen - ready.len()];
                said.push(format!("{} {from}>{to}", broker.carry(from, to)));
            }
        }
    }
}

/// A packet that has arrived at a client.
#[derive(Debug)]
pub(crate) enum Arrived {
    Publish(OwnedPublish),
    Other(PacketType),
}

/// All packets that have arrived at a client which has not looked.
pub(crate) fn arrived(broker: &Broker, client: &Client) -> Vec<Arrived> {
    let bytes = broker.arrived(client);
    let (mut rest, mut packets) = (&bytes[..], Vec::new());
    while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
        let packet = Packet::decode(&frame, client.version(), TextRules::Strict);
        packets.push(match packet.expect("a packet") {
            Packet::Publish(publish) => Arrived::Publish(OwnedPublish::copy_of(&publish)),
            other => Arrived::Other(other.packet_type()),
        });
        rest = &rest[frame.length..];
    }
    packets
}
