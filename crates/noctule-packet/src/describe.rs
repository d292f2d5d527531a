//! One line of text for each packet, which may go into a log: no secret is in it.

use alloc::boxed::Box;
use core::fmt::{self, Display, Formatter};

use crate::wire::variable_length;
use crate::{
    Ack, Auth, Connack, Connect, DecodeError, Disconnect, Frame, Framing, Packet, PacketType,
    Publish, ReasonCode, Suback, Subscribe, TextRules, Unsuback, Unsubscribe, UserProperties,
    Version, Will, split,
};

/// So much of a payload is shown where payloads are.
const PAYLOAD_SHOWN_MAX: usize = 64;
/// So much of a malformed packet is shown, at most.
const MALFORMED_SHOWN_MAX: usize = 16;

/// A packet, or bytes that should be one, as one line of text: its type, identifiers, flags, topic,
/// sizes, properties and reason codes.
///
/// Of the following it shows only how long they are: passwords, authentication data, payloads (that
/// of a will, too), correlation data, the values of user properties in CONNECT and AUTH, and the
/// user name. [`show_user_name`](Self::show_user_name) shows the latter, and
/// [`show_payloads`](Self::show_payloads) what belongs to the application; passwords and
/// authentication data are never shown.
///
/// ```
/// use noctule_packet::{Description, Packet, Publish, QoS, TopicName, Version};
///
/// let packet = Packet::Publish(Publish {
///     topic: Some(TopicName::new("house/kitchen").unwrap()),
///     retain: true,
///     payload: b"21.5",
///     ..Publish::default()
/// });
/// let line = Description::of(&packet).to_string();
/// assert_eq!(line, "PUBLISH \"house/kitchen\" <4 bytes>, QoS 0, retain");
/// let line = Description::of(&packet).show_payloads(true).to_string();
/// assert_eq!(line, "PUBLISH \"house/kitchen\" \"21.5\", QoS 0, retain");
///
/// let mut bytes = Vec::new();
/// packet.encode(Version::V5_0, &mut bytes).unwrap();
/// let line = Description::of_bytes(&bytes, Version::V5_0).to_string();
/// assert_eq!(line, "PUBLISH \"house/kitchen\" <4 bytes>, QoS 0, retain");
/// ```
#[derive(Debug)]
pub struct Description<'a> {
    content: Content<'a>,
    shows_user_name: bool,
    shows_payloads: bool,
}

enum Content<'a> {
    Known(&'a Packet<'a>),
    /// A packet, and how much of the end of its payload is not there.
    Read(Box<Packet<'a>>, usize),
    /// The beginning of a packet, and how many bytes it has, if that is known.
    Part(&'a [u8], Option<PacketType>, Option<usize>),
    Malformed(&'a [u8], Option<PacketType>, DecodeError),
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Known(_) | Self::Read(..) => "Packet",
            Self::Part(..) => "Part",
            Self::Malformed(..) => "Malformed",
        })
    }
}

impl<'a> Description<'a> {
    /// Describes a packet.
    pub const fn of(packet: &'a Packet<'a>) -> Self {
        Self::new(Content::Known(packet))
    }

    /// Describes the packet that begins with the first of these bytes, in the version that is
    /// spoken. Bytes that are no packet are described as that, with the first of them. Of a large
    /// PUBLISH, the beginning is enough.
    pub fn of_bytes(bytes: &'a [u8], version: Version) -> Self {
        let packet_type = bytes.first().and_then(|first| PacketType::from_value(first >> 4));
        Self::new(match split(bytes, u32::MAX) {
            Ok(Framing::Complete(frame)) => match decode(&frame, version) {
                Ok(packet) => Content::Read(Box::new(packet), 0),
                Err(error) => {
                    let bytes = bytes.get(..frame.length).unwrap_or(bytes);
                    Content::Malformed(bytes, packet_type, error)
                }
            },
            Ok(Framing::Partial { needed }) => match without_end(bytes, needed, version) {
                Some(packet) => Content::Read(Box::new(packet), needed - bytes.len()),
                None => {
                    let is_known = header_of(bytes).is_some();
                    Content::Part(bytes, packet_type, is_known.then_some(needed))
                }
            },
            Err(error) => Content::Malformed(bytes, packet_type, error),
        })
    }

    const fn new(content: Content<'a>) -> Self {
        Self { content, shows_user_name: false, shows_payloads: false }
    }

    /// Whether to show user names.
    #[must_use]
    pub const fn show_user_name(mut self, shows: bool) -> Self {
        self.shows_user_name = shows;
        self
    }

    /// Whether to show payloads, correlation data and the values of user properties: the beginning
    /// of payloads that are long.
    #[must_use]
    pub const fn show_payloads(mut self, shows: bool) -> Self {
        self.shows_payloads = shows;
        self
    }

    /// The type of the packet; `None` if the bytes do not begin like any.
    pub const fn packet_type(&self) -> Option<PacketType> {
        match &self.content {
            Content::Known(packet) => Some(packet.packet_type()),
            Content::Read(packet, _) => Some(packet.packet_type()),
            Content::Part(_, packet_type, _) | Content::Malformed(_, packet_type, _) => {
                *packet_type
            }
        }
    }

    /// What is wrong with the bytes, if they are no packet.
    pub const fn error(&self) -> Option<DecodeError> {
        match &self.content {
            Content::Malformed(_, _, error) => Some(*error),
            _ => None,
        }
    }
}

/// The packet in a frame, as far as anybody can read it.
fn decode<'a>(frame: &Frame<'a>, version: Version) -> Result<Packet<'a>, DecodeError> {
    let rules = TextRules::Lenient;
    match frame.packet_type {
        // It says itself which version it is.
        PacketType::Connect => match Connect::decode(frame, rules) {
            Ok(connect) => Ok(Packet::Connect(Box::new(connect))),
            Err(error) => Err(error.error),
        },
        // Whoever does not speak the version refuses it in an older one.
        PacketType::Connack => Packet::decode(frame, version, rules)
            .or_else(|error| Packet::decode(frame, Version::V3_1_1, rules).map_err(|_| error)),
        _ => Packet::decode(frame, version, rules),
    }
}

/// A PUBLISH of which the end of the payload is missing.
fn without_end<'a>(bytes: &'a [u8], needed: usize, version: Version) -> Option<Packet<'a>> {
    let header = header_of(bytes).filter(|_| needed > bytes.len())?;
    let (first, body) = (*bytes.first()?, bytes.get(header..)?);
    let packet_type = PacketType::from_value(first >> 4)?;
    if packet_type != PacketType::Publish {
        return None;
    }
    let length = 1 + variable_length(body.len()) + body.len();
    let frame = Frame { packet_type, flags: first & 0x0F, body, length };
    Packet::decode(&frame, version, TextRules::Lenient).ok()
}

/// The bytes of the first byte and the remaining length, if they are all there.
fn header_of(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0)?;
    Some(last + 2)
}

/// What may be shown of a malformed packet: nothing of the fields that hold secrets, wherever its
/// bytes say that they are.
fn harmless(bytes: &[u8], packet_type: Option<PacketType>) -> &[u8] {
    let header = header_of(bytes).unwrap_or(bytes.len());
    let shown = match packet_type {
        Some(PacketType::Connect | PacketType::Connack | PacketType::Auth) => header,
        // The length of the topic.
        Some(PacketType::Publish) => header + 2,
        _ => MALFORMED_SHOWN_MAX,
    };
    bytes.get(..shown.min(MALFORMED_SHOWN_MAX)).unwrap_or(bytes)
}

impl Display for Description<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (shows_user_name, shows_payloads) = (self.shows_user_name, self.shows_payloads);
        let mut line = Line { to: formatter, shows_user_name, shows_payloads, result: Ok(()) };
        let name = self.packet_type().map_or("packet", PacketType::name);
        match &self.content {
            Content::Known(packet) => line.packet(packet, 0),
            Content::Read(packet, missing) => line.packet(packet, *missing),
            Content::Part(bytes, _, None) => {
                line.write(format_args!("{name}, its first {} bytes", bytes.len()));
            }
            Content::Part(bytes, _, Some(size)) => {
                line.write(format_args!("{name}, {} of its {size} bytes", bytes.len()));
            }
            Content::Malformed(bytes, packet_type, error) => {
                line.write(format_args!("malformed {name} of {} bytes, {error}:", bytes.len()));
                let shown = harmless(bytes, *packet_type);
                line.bytes(shown, shown.len() < bytes.len());
            }
        }
        line.result
    }
}

/// A line that grows by one word or pair at a time.
struct Line<'a, 'b> {
    to: &'a mut Formatter<'b>,
    shows_user_name: bool,
    shows_payloads: bool,
    result: fmt::Result,
}

impl Line<'_, '_> {
    fn write(&mut self, text: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.to.write_fmt(text);
        }
    }

    fn word(&mut self, word: impl Display) {
        self.write(format_args!(" {word}"));
    }

    fn pair(&mut self, name: &str, value: impl Display) {
        self.write(format_args!(", {name} {value}"));
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.write(format_args!(", {name}"));
        }
    }

    fn number(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.pair(name, value);
        }
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(name, format_args!("{value:?}"));
        }
    }

    fn hidden(&mut self, name: &str, secret: Option<&[u8]>) {
        if let Some(secret) = secret {
            self.pair(name, format_args!("<{} bytes>", secret.len()));
        }
    }

    fn bytes(&mut self, bytes: &[u8], is_cut: bool) {
        for byte in bytes {
            self.write(format_args!(" {byte:02x}"));
        }
        if is_cut {
            self.write(format_args!(" …"));
        }
    }

    /// A payload as text if it is, else as bytes, and the beginning if it is long; or only its
    /// length.
    fn payload(&mut self, payload: &[u8], missing: usize) {
        let length = payload.len() + missing;
        let text = core::str::from_utf8(payload);
        match text {
            _ if !self.shows_payloads => self.word(format_args!("<{length} bytes>")),
            Ok(text) if text.len() <= PAYLOAD_SHOWN_MAX && missing == 0 => {
                self.word(format_args!("{text:?}"));
            }
            Ok(text) => {
                let end = text.char_indices().nth(PAYLOAD_SHOWN_MAX).map_or(text.len(), |it| it.0);
                let shown = text.get(..end).unwrap_or_default();
                self.word(format_args!("{length} bytes: {shown:?} …"));
            }
            Err(_) => {
                self.word(format_args!("{length} bytes:"));
                let shown = payload.get(..PAYLOAD_SHOWN_MAX).unwrap_or(payload);
                self.bytes(shown, shown.len() < length);
            }
        }
    }

    fn correlation_data(&mut self, data: Option<&[u8]>) {
        match data {
            Some(data) if self.shows_payloads => {
                self.write(format_args!(", correlation data"));
                self.bytes(data, false);
            }
            data => self.hidden("correlation data", data),
        }
    }

    fn user_properties(&mut self, properties: &UserProperties<'_>) {
        for (name, value) in properties.iter() {
            self.pair("user property", format_args!("{name:?}={value:?}"));
        }
    }

    /// Those of packets in which tokens travel.
    fn secret_user_properties(&mut self, properties: &UserProperties<'_>) {
        if self.shows_payloads {
            return self.user_properties(properties);
        }
        for (name, value) in properties.iter() {
            self.pair("user property", format_args!("{name:?}=<{} bytes>", value.len()));
        }
    }

    fn codes(&mut self, codes: &[ReasonCode]) {
        for code in codes {
            self.write(format_args!(", {code}"));
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, missing: usize) {
        self.write(format_args!("{}", packet.packet_type().name()));
        match packet {
            Packet::Connect(connect) => self.connect(connect),
            Packet::Connack(connack) => self.connack(connack),
            Packet::Publish(publish) => self.publish(publish, missing),
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => self.ack(ack),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Suback(suback) => self.suback(suback),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe),
            Packet::Unsuback(unsuback) => self.unsuback(unsuback),
            Packet::Pingreq | Packet::Pingresp => {}
            Packet::Disconnect(disconnect) => self.disconnect(disconnect),
            Packet::Auth(auth) => self.auth(auth),
        }
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        let properties = &connect.properties;
        self.word(connect.version);
        self.word(format_args!("{:?}", connect.client_id));
        self.flag("clean start", connect.clean_start);
        self.pair("keep alive", connect.keep_alive);
        self.number("session expiry interval", properties.session_expiry_interval);
        self.number("receive maximum", properties.receive_maximum);
        self.number("maximum packet size", properties.maximum_packet_size);
        self.number("topic alias maximum", properties.topic_alias_maximum);
        self.number("request response information", properties.request_response_information);
        self.number("request problem information", properties.request_problem_information);
        self.text("authentication method", properties.authentication_method);
        self.hidden("authentication data", properties.authentication_data);
        self.secret_user_properties(&properties.user_properties);
        match connect.user_name {
            Some(name) if !self.shows_user_name => self.hidden("user name", Some(name.as_bytes())),
            name => self.text("user name", name),
        }
        self.hidden("password", connect.password);
        if let Some(will) = &connect.will {
            self.will(will);
        }
    }

    fn will(&mut self, will: &Will<'_>) {
        let properties = &will.properties;
        self.write(format_args!("; will {:?}", will.topic.as_str()));
        self.payload(will.payload, 0);
        self.pair("QoS", will.qos.level());
        self.flag("retain", will.retain);
        self.number("will delay interval", properties.will_delay_interval);
        self.number("payload format indicator", properties.payload_format_indicator);
        self.number("message expiry interval", properties.message_expiry_interval);
        self.text("content type", properties.content_type);
        self.text("response topic", properties.response_topic.map(|topic| topic.as_str()));
        self.correlation_data(properties.correlation_data);
        self.user_properties(&properties.user_properties);
    }

    fn connack(&mut self, connack: &Connack<'_>) {
        let properties = &connack.properties;
        self.word(connack.reason_code);
        self.flag("session present", connack.session_present);
        self.number("session expiry interval", properties.session_expiry_interval);
        self.number("receive maximum", properties.receive_maximum);
        self.number("maximum QoS", properties.maximum_qos.map(|qos| qos.level()));
        self.number("retain available", properties.retain_available);
        self.number("maximum packet size", properties.maximum_packet_size);
        self.text("assigned client identifier", properties.assigned_client_identifier);
        self.number("topic alias maximum", properties.topic_alias_maximum);
        self.text("reason string", properties.reason_string);
        self.number("wildcard subscription available", properties.wildcard_subscription_available);
        let available = properties.subscription_identifiers_available;
        self.number("subscription identifiers available", available);
        self.number("shared subscription available", properties.shared_subscription_available);
        self.number("server keep alive", properties.server_keep_alive);
        self.text("response information", properties.response_information);
        self.text("server reference", properties.server_reference);
        self.text("authentication method", properties.authentication_method);
        self.hidden("authentication data", properties.authentication_data);
        self.user_properties(&properties.user_properties);
    }

    fn publish(&mut self, publish: &Publish<'_>, missing: usize) {
        let properties = &publish.properties;
        if let Some(packet_id) = publish.packet_id {
            self.word(packet_id.value());
        }
        match publish.topic {
            Some(topic) => self.word(format_args!("{:?}", topic.as_str())),
            None => self.word("without topic"),
        }
        self.payload(publish.payload, missing);
        self.pair("QoS", publish.qos.level());
        self.flag("retain", publish.retain);
        self.flag("dup", publish.dup);
        self.number("payload format indicator", properties.payload_format_indicator);
        self.number("message expiry interval", properties.message_expiry_interval);
        self.number("topic alias", properties.topic_alias);
        self.text("response topic", properties.response_topic.map(|topic| topic.as_str()));
        self.correlation_data(properties.correlation_data);
        for identifier in &properties.subscription_identifiers {
            self.pair("subscription identifier", identifier);
        }
        self.text("content type", properties.content_type);
        self.user_properties(&properties.user_properties);
    }

    fn ack(&mut self, ack: &Ack<'_>) {
        self.word(ack.packet_id.value());
        if ack.reason_code != ReasonCode::Success {
            self.codes(&[ack.reason_code]);
        }
        self.text("reason string", ack.reason_string);
        self.user_properties(&ack.user_properties);
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>) {
        self.word(subscribe.packet_id.value());
        self.number("subscription identifier", subscribe.subscription_identifier);
        self.user_properties(&subscribe.user_properties);
        for subscription in subscribe.subscriptions.iter() {
            let options = subscription.options;
            self.write(format_args!("; {:?}", subscription.filter.as_str()));
            self.pair("QoS", options.qos.level());
            self.flag("no local", options.no_local);
            self.flag("retain as published", options.retain_as_published);
            if options.retain_handling != Default::default() {
                self.pair("retain handling", format_args!("{:?}", options.retain_handling));
            }
        }
    }

    fn suback(&mut self, suback: &Suback<'_>) {
        self.word(suback.packet_id.value());
        self.codes(&suback.reason_codes);
        self.text("reason string", suback.reason_string);
        self.user_properties(&suback.user_properties);
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) {
        self.word(unsubscribe.packet_id.value());
        for filter in unsubscribe.filters.iter() {
            self.write(format_args!(", {:?}", filter.as_str()));
        }
        self.user_properties(&unsubscribe.user_properties);
    }

    fn unsuback(&mut self, unsuback: &Unsuback<'_>) {
        self.word(unsuback.packet_id.value());
        self.codes(&unsuback.reason_codes);
        self.text("reason string", unsuback.reason_string);
        self.user_properties(&unsuback.user_properties);
    }

    fn disconnect(&mut self, disconnect: &Disconnect<'_>) {
        self.word(disconnect.reason_code);
        self.number("session expiry interval", disconnect.session_expiry_interval);
        self.text("reason string", disconnect.reason_string);
        self.text("server reference", disconnect.server_reference);
        self.user_properties(&disconnect.user_properties);
    }

    fn auth(&mut self, auth: &Auth<'_>) {
        self.word(auth.reason_code);
        self.text("authentication method", auth.authentication_method);
        self.hidden("authentication data", auth.authentication_data);
        self.text("reason string", auth.reason_string);
        self.secret_user_properties(&auth.user_properties);
    }
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
