//! What a simulated client sends: every packet type, with the promises that a correct client keeps.

use noctule_packet::{
    Ack, Connect, ConnectProperties, Disconnect, FilterList, Packet, Publish, PublishProperties,
    QoS, ReasonCode, RetainHandling, Subscribe, SubscriptionList, SubscriptionOptions, TopicFilter,
    TopicName, Unsubscribe, UserProperties, Will, WillProperties,
};

use crate::brief::brief;
use crate::client::{Request, Unfinished};
use crate::link::{LinkId, Mark};
use crate::oracle::publication::PublicationId;
use crate::oracle::subscription::Asked;
use crate::oracle::will::WillPlan;
use crate::world::{Happening, World};

impl World {
    /// Opens a connection and sends CONNECT. A client that is connected is taken over.
    pub(crate) fn connect(&mut self, client: usize, clean_start: bool) -> LinkId {
        let link = self.dial(client);
        let known = &mut self.clients[client];
        if let Some(old) = known.link {
            self.links[old].is_ghost = true;
        }
        known.forget_connection();
        known.link = Some(link);
        self.oracle.offline(client);
        let begins_anew = self.clients[client].begins_anew;
        let clean_start = clean_start || begins_anew || self.is_always_clean(client);
        let plan = if self.random.chance(40) { Some(self.plan_will(client)) } else { None };
        self.send_connect(link, client, clean_start, plan);
        // Nobody has to wait for CONNACK.
        if self.random.chance(30) {
            let topic = self.random.index(self.topics.len());
            self.publish(client, topic, QoS::AtMostOnce, false);
        }
        link
    }

    /// A connection under the same identifier that nobody ever reads from.
    pub(crate) fn connect_ghost(&mut self, client: usize) {
        let link = self.dial(client);
        self.links[link].is_ghost = true;
        let clean_start = self.is_always_clean(client);
        self.send_connect(link, client, clean_start, None);
        if self.random.chance(50) {
            self.cut(link, false);
        }
    }

    /// In 3.1.1 only a clean session ends with its connection.
    fn is_always_clean(&self, client: usize) -> bool {
        let habits = &self.clients[client].habits;
        !habits.version.is_v5() && habits.session_expiry == 0
    }

    fn plan_will(&mut self, client: usize) -> WillPlan {
        let v5 = self.clients[client].habits.version.is_v5();
        let topic = self.random.index(self.topics.len());
        WillPlan {
            topic,
            qos: self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            retain: self.random.chance(20) && self.topics.is_retained(topic),
            delay: if v5 { self.random.pick(&[0, 0, 1, 4]) } else { 0 },
        }
    }

    fn send_connect(
        &mut self,
        link: LinkId,
        client: usize,
        clean_start: bool,
        plan: Option<WillPlan>,
    ) {
        let habits = self.clients[client].habits.clone();
        let will = plan.map(|plan| self.oracle.will_is_set(client, link, plan));
        let payload = will.map(|will| self.oracle.will_publication(will).payload());
        let known = &mut self.links[link];
        known.clean_start = clean_start;
        known.session_expiry =
            if !habits.version.is_v5() && clean_start { 0 } else { habits.session_expiry };
        known.will = will;
        let v5 = habits.version.is_v5();
        let topics = self.topics.clone();
        let will = plan.zip(payload.as_deref()).map(|(plan, payload)| Will {
            qos: plan.qos,
            retain: plan.retain,
            properties: WillProperties {
                will_delay_interval: (plan.delay > 0).then_some(plan.delay),
                ..Default::default()
            },
            topic: TopicName::new(topics.name(plan.topic)).expect("a topic of ours"),
            payload,
        });
        let connect = Connect {
            version: habits.version,
            clean_start,
            keep_alive: habits.keep_alive,
            properties: ConnectProperties {
                session_expiry_interval: v5.then_some(habits.session_expiry),
                receive_maximum: v5.then_some(habits.receive_maximum),
                topic_alias_maximum: v5.then_some(habits.topic_alias_maximum),
                maximum_packet_size: habits.maximum_packet_size,
                ..Default::default()
            },
            client_id: &self.clients[client].client_id.clone(),
            will,
            user_name: None,
            password: None,
        };
        self.send(link, client, &Packet::from(connect), Mark::Connect);
        if habits.keep_alive > 0 && !self.links[link].is_ghost {
            self.schedule(u64::from(habits.keep_alive) * 700, Happening::Ping(link));
        }
    }

    pub(crate) fn send(&mut self, link: LinkId, client: usize, packet: &Packet<'_>, mark: Mark) {
        let mut bytes = Vec::new();
        let version = self.clients[client].habits.version;
        if let Err(error) = packet.encode(version, &mut bytes) {
            panic!("a simulated client cannot encode {packet:?}: {error}");
        }
        self.trace(|| format!("link {link} client {client} sends {}", brief(packet)));
        self.send_upward(link, &bytes, mark);
    }

    pub(crate) fn send_ack(&mut self, link: LinkId, client: usize, packet: Packet<'_>) {
        self.send(link, client, &packet, Mark::Other);
    }

    /// Publishes something new.
    pub(crate) fn publish(&mut self, client: usize, topic: usize, qos: QoS, retain: bool) {
        let Some(link) = self.clients[client].link else { return };
        let clears = retain && self.random.chance(15);
        let publication = self.oracle.publishes(client, link, (topic, qos), (retain, clears));
        let packet_id = if qos == QoS::AtMostOnce {
            0
        } else {
            let last = self.clients[client].last_packet_id;
            let packet_id = self.clients[client].next_packet_id().value();
            self.situations.packet_ids_to_broker_wrap += u64::from(packet_id < last);
            let unfinished = Unfinished { packet_id, publication, qos, is_released: false };
            self.clients[client].unfinished.push_back(unfinished);
            packet_id
        };
        self.send_publish(link, client, publication, packet_id, false);
        let known = &self.clients[client];
        if qos > QoS::AtMostOnce && known.unfinished.len() >= known.server_receive_maximum.into() {
            self.situations.window_full_to_broker += 1;
        }
    }

    /// Sends a publication for the first time or again.
    fn send_publish(
        &mut self,
        link: LinkId,
        client: usize,
        publication: PublicationId,
        packet_id: u16,
        dup: bool,
    ) {
        let (topic, qos, retain, payload) = {
            let known = self.oracle.publication(publication);
            let payload = if known.clears { Vec::new() } else { publication.payload() };
            (known.topic, known.qos, known.retain, payload)
        };
        let topics = self.topics.clone();
        let (is_known, topic_alias) = self.choose_alias(client, topic);
        let publish = Publish {
            dup,
            qos,
            retain,
            topic: TopicName::new(topics.name(topic)).ok().filter(|_| !is_known),
            packet_id: noctule_packet::PacketId::new(packet_id),
            properties: PublishProperties { topic_alias, ..PublishProperties::default() },
            payload: &payload,
        };
        self.send(link, client, &Packet::Publish(publish), Mark::Publish { topic, retain });
    }

    /// Whether an alias stands for the topic, and which one, or which one shall from now on.
    fn choose_alias(&mut self, client: usize, topic: usize) -> (bool, Option<u16>) {
        let known = &mut self.clients[client];
        if let Some(alias) = known.own_aliases.get(&topic) {
            return if self.random.chance(50) { (true, Some(*alias)) } else { (false, None) };
        }
        let next = known.own_aliases.len() as u16 + 1;
        if next > known.server_alias_maximum || !self.random.chance(30) {
            return (false, None);
        }
        known.own_aliases.insert(topic, next);
        (false, Some(next))
    }

    /// A session goes on: everything that is not finished is sent again, in order.
    // MQTT5-4.4.0-1 MQTT311-4.4.0-1
    pub(crate) fn resend(&mut self, link: LinkId, client: usize) {
        for known in self.clients[client].unfinished.clone() {
            let packet_id = noctule_packet::PacketId::new(known.packet_id);
            if let Some(packet_id) = packet_id.filter(|_| known.is_released) {
                let ack = Ack::new(packet_id, ReasonCode::Success);
                self.send_ack(link, client, Packet::Pubrel(ack));
            } else {
                self.oracle.publishes_again(known.publication, link);
                self.send_publish(link, client, known.publication, known.packet_id, true);
            }
        }
    }

    pub(crate) fn subscribe(&mut self, client: usize, filters: &[(usize, Asked)]) {
        let Some(link) = self.clients[client].link else { return };
        let v5 = self.clients[client].habits.version.is_v5();
        let packet_id = self.clients[client].next_packet_id();
        let topics = self.topics.clone();
        let mut subscriptions = SubscriptionList::new();
        for (filter, asked) in filters {
            let Ok(filter) = TopicFilter::new(topics.filter(*filter)) else { continue };
            let options = SubscriptionOptions {
                qos: asked.qos,
                no_local: asked.no_local,
                retain_as_published: asked.retain_as_published,
                retain_handling: asked.retain_handling,
            };
            subscriptions.push(&filter, options);
        }
        let subscription_identifier =
            filters.first().and_then(|(_, asked)| asked.identifier).filter(|_| v5);
        let subscribe = Subscribe {
            packet_id,
            subscription_identifier,
            user_properties: UserProperties::new(),
            subscriptions,
        };
        let names: Vec<usize> = filters.iter().map(|(filter, _)| *filter).collect();
        self.oracle.subscribes(client, link, filters);
        let request = Request::Subscribe(names.clone());
        self.clients[client].requests.insert(packet_id.value(), request);
        let mark = Mark::Subscribe { filters: names };
        self.send(link, client, &Packet::Subscribe(subscribe), mark);
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, filter: usize) {
        let Some(link) = self.clients[client].link else { return };
        let packet_id = self.clients[client].next_packet_id();
        let topics = self.topics.clone();
        let mut filters = FilterList::new();
        if let Ok(filter) = TopicFilter::new(topics.filter(filter)) {
            filters.push(&filter);
        }
        let user_properties = UserProperties::new();
        let unsubscribe = Unsubscribe { packet_id, user_properties, filters };
        let sent = self.oracle.unsubscribes(client, filter);
        let request = Request::Unsubscribe(vec![filter], sent);
        self.clients[client].requests.insert(packet_id.value(), request);
        self.send(link, client, &Packet::Unsubscribe(unsubscribe), Mark::Other);
    }

    /// Leaves in good order, with or without the will.
    pub(crate) fn disconnect(&mut self, client: usize, with_will: bool) {
        let Some(link) = self.clients[client].link else { return };
        let v5 = self.clients[client].habits.version.is_v5();
        let reason_code = if with_will && v5 {
            ReasonCode::DisconnectWithWillMessage
        } else {
            ReasonCode::Success
        };
        let disconnect = Disconnect { reason_code, ..Default::default() };
        self.links[link].sent_disconnect = true;
        self.send(link, client, &Packet::Disconnect(disconnect), Mark::Other);
        self.shut_down(link);
        self.clients[client].forget_connection();
        self.oracle.offline(client);
    }

    pub(crate) fn ping(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link {
            self.clients[client].pings_sent += 1;
            self.send(link, client, &Packet::Pingreq, Mark::Other);
        }
    }

    pub(crate) fn ping_due(&mut self, link: LinkId) {
        let client = self.links[link].client;
        if !self.links[link].client_is_open || self.clients[client].link != Some(link) {
            return;
        }
        if self.clients[client].is_online {
            self.ping(client);
        }
        let keep_alive = u64::from(self.clients[client].habits.keep_alive);
        self.schedule(keep_alive * 700, Happening::Ping(link));
    }

    /// How a client subscribes.
    pub(crate) fn ask(&mut self, client: usize, filter: usize) -> Asked {
        let is_shared = self.topics.is_shared(filter);
        let habits = &self.clients[client].habits;
        let (v5, retain_as_published) = (habits.version.is_v5(), habits.retain_as_published);
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let handlings = [
            RetainHandling::SendAtSubscribe,
            RetainHandling::SendAtSubscribe,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ];
        Asked {
            // What waits for a member of a shared subscription is never lost above QoS 0.
            qos: if is_shared { QoS::ExactlyOnce } else { self.random.pick(&levels) },
            no_local: v5 && !is_shared && self.random.chance(10),
            retain_as_published: v5 && retain_as_published && !is_shared,
            retain_handling: if v5 { self.random.pick(&handlings) } else { handlings[0] },
            identifier: (v5 && self.random.chance(50)).then(|| 1 + filter as u32),
        }
    }
}
