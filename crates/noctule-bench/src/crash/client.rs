//! One client of a crash test: what it asks for, and what it makes of the packets that come.

use std::collections::{BTreeSet, HashMap};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use noctule_packet::{
    Ack, Connack, Disconnect, FilterList, Frame, Packet, PacketId, Publish, QoS, ReasonCode,
    Subscribe, SubscriptionList, SubscriptionOptions, TextRules, TopicFilter, Unsubscribe,
    UserProperties,
};

use super::cast::{KEPT, Member, Part};
use super::connect;
use super::content::{self, Content};
use super::journal::{ClientIndex, Event, Group, Opening, Stream};
use super::receiver::{Receiver, Reception};
use super::sender::Sender;
use crate::link::Link;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    /// CONNECT was sent.
    Connecting,
    /// CONNACK came.
    Open,
    /// The client's side is closed.
    Closing,
}

/// A change of a subscription that the broker has not answered.
#[derive(Clone, Copy, Debug)]
enum Request {
    Subscribe(Group),
    Unsubscribe(Group),
}

#[derive(Debug)]
pub(super) struct Client {
    index: ClientIndex,
    pub(super) member: Member,
    pub(super) phase: Phase,
    pub(super) link: Option<Link>,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    requests: HashMap<PacketId, Request>,
    last_id: u16,
    /// The groups that SUBACK has confirmed and that it has not asked to leave.
    pub(super) groups: BTreeSet<Group>,
    /// How many messages the broker takes before it has acknowledged one.
    pub(super) receive_maximum: usize,
    /// The number of its look at the retained messages.
    look: u32,
}

impl Client {
    pub(super) fn new(index: ClientIndex, member: Member) -> Self {
        Self {
            index,
            sender: Sender::new(member.version),
            member,
            phase: Phase::Closed,
            link: None,
            receiver: Receiver::default(),
            requests: HashMap::new(),
            last_id: 0,
            groups: BTreeSet::new(),
            receive_maximum: 0,
            look: 0,
        }
    }

    /// Whether every request has been answered.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether all of its subscriptions are there.
    pub(super) fn is_subscribed(&self) -> bool {
        self.member.groups.iter().all(|group| self.groups.contains(group))
    }

    /// Connects; a connection that is there is taken over.
    pub(super) fn connect(
        &mut self,
        address: SocketAddr,
        connection: u32,
        clean_start: bool,
        notes: &mut Vec<Event>,
    ) -> Result<()> {
        let stream = TcpStream::connect(address).context("the broker takes no connections")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        // What the old connection still holds is never read, as if the network had lost it.
        let mut link = Link::new(stream);
        self.disconnected();
        let version = self.member.version;
        // Before 5.0 one flag says both.
        let is_stored = self.member.is_stored() && (version.is_v5() || !clean_start);
        let clean_start = clean_start || !self.member.is_stored();
        if clean_start {
            self.groups.clear();
        }
        let opening = Opening { connection, clean_start, is_stored, will: self.member.will() };
        connect::encode(&self.member, &opening, &mut link.out)?;
        self.link = Some(link);
        self.phase = Phase::Connecting;
        self.look = connection;
        notes.push(Event::Connect { client: self.index, opening });
        Ok(())
    }

    /// Ends the connection in good order, or without a word.
    pub(super) fn leave(&mut self, in_good_order: bool, notes: &mut Vec<Event>) -> Result<()> {
        let client = self.index;
        let Some(link) = &mut self.link else { return Ok(()) };
        if in_good_order {
            let disconnect = Packet::Disconnect(Disconnect::default());
            disconnect.encode(self.member.version, &mut link.out)?;
            notes.push(Event::Disconnect { client });
        } else {
            notes.push(Event::Drop { client });
        }
        // It is closed when all of this is written, and gone when the broker has closed, too.
        self.phase = Phase::Closing;
        Ok(())
    }

    pub(super) fn subscribe(&mut self, group: Group, notes: &mut Vec<Event>) -> Result<()> {
        let (client, qos) = (self.index, self.member.qos(group));
        let packet_id = self.next_id()?;
        let mut subscriptions = SubscriptionList::new();
        let filter = content::filter(group);
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        subscriptions.push(&TopicFilter::new(&filter)?, options);
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions,
        }))?;
        self.requests.insert(packet_id, Request::Subscribe(group));
        notes.push(if self.member.part == Part::Looking {
            Event::Look { look: self.look }
        } else {
            Event::Subscribe { client, group, qos }
        });
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, group: Group, notes: &mut Vec<Event>) -> Result<()> {
        let packet_id = self.next_id()?;
        let filter = content::filter(group);
        let mut filters = FilterList::new();
        filters.push(&TopicFilter::new(&filter)?);
        let user_properties = UserProperties::default();
        self.send(&Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters }))?;
        self.requests.insert(packet_id, Request::Unsubscribe(group));
        self.groups.remove(&group);
        notes.push(Event::Unsubscribe { client: self.index, group });
        Ok(())
    }

    /// Subscribes to what is missing of what it always has.
    pub(super) fn subscribe_to_all(&mut self, notes: &mut Vec<Event>) -> Result<()> {
        for group in self.member.groups.clone() {
            if !self.groups.contains(&group) {
                self.subscribe(group, notes)?;
            }
        }
        Ok(())
    }

    /// The same, if it is connected.
    pub(super) fn subscribe_to_all_if_open(&mut self, notes: &mut Vec<Event>) -> Result<()> {
        if self.phase == Phase::Open { self.subscribe_to_all(notes) } else { Ok(()) }
    }

    /// Acts on a packet.
    pub(super) fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        streams: &[Stream],
        notes: &mut Vec<Event>,
    ) -> Result<()> {
        let packet = Packet::decode(frame, self.member.version, TextRules::Strict)
            .with_context(|| format!("{} got a packet that is none", self.member.name))?;
        match &packet {
            Packet::Connack(connack) => self.on_connack(connack, notes)?,
            Packet::Publish(publish) => self.on_publish(publish, streams, notes),
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubcomp(ack) => {
                self.on_ack(&packet, ack, notes);
            }
            Packet::Pubrel(ack) => {
                self.receiver.on_pubrel(ack.packet_id);
                let (client, packet_id) = (self.index, ack.packet_id.value());
                notes.push(Event::Released { client, packet_id });
            }
            Packet::Suback(suback) => {
                let code = suback.reason_codes.first().copied();
                self.on_answer(suback.packet_id, code, notes);
            }
            Packet::Unsuback(unsuback) => {
                self.on_answer(unsuback.packet_id, unsuback.reason_codes.first().copied(), notes);
            }
            // The end of the connection follows.
            Packet::Disconnect(_) | Packet::Pingresp => {}
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq
            | Packet::Auth(_) => bail!("{} got {:?}", self.member.name, packet.packet_type()),
        }
        Ok(())
    }

    fn on_connack(&mut self, connack: &Connack<'_>, notes: &mut Vec<Event>) -> Result<()> {
        let client = self.index;
        if connack.reason_code.is_error() {
            notes.push(Event::Refused { client });
            return Ok(());
        }
        let session_present = connack.session_present;
        notes.push(Event::Connack { client, session_present });
        let receive_maximum = connack.properties.receive_maximum.unwrap_or(u16::MAX);
        self.receive_maximum = receive_maximum.into();
        if !session_present {
            self.groups.clear();
            self.receiver.on_session_end();
            self.sender.give_up(notes);
        }
        if self.phase == Phase::Connecting {
            self.phase = Phase::Open;
            if let Some(link) = &mut self.link {
                self.sender.resume(&mut link.out, notes)?;
            }
            if self.member.part == Part::Looking {
                self.subscribe(KEPT, notes)?;
            }
        }
        Ok(())
    }

    fn on_publish(&mut self, publish: &Publish<'_>, streams: &[Stream], notes: &mut Vec<Event>) {
        let client = self.index;
        let content = content::read(publish, streams);
        let reception = self.receiver.on_publish(publish, content);
        let is_looking = self.member.part == Part::Looking;
        notes.extend(match (content, reception) {
            (None, _) => Some(Event::Garbled { client }),
            (Some(Content::Message(message)), _) if is_looking => {
                publish.retain.then_some(Event::Retained { look: self.look, message })
            }
            // It comes with a subscription, and is none of the numbered messages that follow.
            (Some(Content::Message(_)), Reception::Arrived(_)) if publish.retain => None,
            (Some(Content::Message(message)), Reception::Arrived(arrival)) => {
                Some(Event::Arrived { client, message, arrival })
            }
            (Some(Content::Message(message)), Reception::Swallowed) => {
                Some(Event::Swallowed { client, message })
            }
            (Some(Content::Will(connection)), Reception::Arrived(arrival)) => {
                Some(Event::WillArrived { connection, arrival })
            }
            (Some(Content::Will(_)), Reception::Swallowed) => Some(Event::Garbled { client }),
        });
    }

    fn on_ack(&mut self, packet: &Packet<'_>, ack: &Ack<'_>, notes: &mut Vec<Event>) {
        if let Some(link) = &mut self.link {
            self.sender.on_ack(packet.packet_type(), ack, &mut link.out, notes);
        }
    }

    /// SUBACK or UNSUBACK, which has no reason code before 5.0.
    fn on_answer(&mut self, packet_id: PacketId, code: Option<ReasonCode>, notes: &mut Vec<Event>) {
        let client = self.index;
        let failed = code.is_some_and(ReasonCode::is_error);
        match self.requests.remove(&packet_id) {
            Some(Request::Subscribe(group)) => {
                if !failed {
                    self.groups.insert(group);
                }
                let granted = code.and_then(|code| QoS::from_level(code.value()));
                if self.member.part != Part::Looking {
                    notes.push(Event::Suback { client, group, granted });
                }
            }
            Some(Request::Unsubscribe(group)) if !failed => {
                notes.push(Event::Unsuback { client, group });
            }
            // Nobody has asked, or the broker keeps the subscription.
            _ => notes.push(Event::Garbled { client }),
        }
    }

    /// Forgets the connection.
    pub(super) fn disconnected(&mut self) {
        self.link = None;
        self.phase = Phase::Closed;
        self.requests.clear();
        self.receiver.on_disconnected();
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<()> {
        let link = self.link.as_mut().context("there is no connection")?;
        Ok(packet.encode(self.member.version, &mut link.out)?)
    }

    /// Requests and messages share the identifiers; each has a half.
    fn next_id(&mut self) -> Result<PacketId> {
        self.last_id = self.last_id.checked_sub(1).filter(|id| *id > 0x8000).unwrap_or(u16::MAX);
        PacketId::new(self.last_id).context("no packet identifier is free")
    }
}
