//! One line for each packet, as the transcript shows it.

use std::fmt::{self, Write};

use noctule_packet::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, Publish, ReasonCode, Suback, Subscribe,
    Unsuback, Unsubscribe, UserProperties, Will,
};

/// So much of a payload, or of bytes that are no packet, is shown.
const SHOWN_BYTES: usize = 64;

/// The packet in one line: its name and what is not as it always is. It shows neither passwords nor
/// authentication data: transcripts end in logs.
pub(crate) fn describe(packet: &Packet<'_>) -> String {
    let mut line = Line(packet.packet_type().name().to_owned());
    match packet {
        Packet::Connect(connect) => line.connect(connect),
        Packet::Connack(connack) => line.connack(connack),
        Packet::Publish(publish) => line.publish(publish),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            line.ack(ack);
        }
        Packet::Subscribe(subscribe) => line.subscribe(subscribe),
        Packet::Suback(suback) => line.suback(suback),
        Packet::Unsubscribe(unsubscribe) => line.unsubscribe(unsubscribe),
        Packet::Unsuback(unsuback) => line.unsuback(unsuback),
        Packet::Pingreq | Packet::Pingresp => {}
        Packet::Disconnect(disconnect) => line.disconnect(disconnect),
        Packet::Auth(auth) => line.auth(auth),
    }
    line.0
}

/// Bytes in hexadecimal, the first ones if there are many.
pub(crate) fn describe_bytes(bytes: &[u8]) -> String {
    let mut out = format!("{} bytes:", bytes.len());
    for byte in bytes.iter().take(SHOWN_BYTES) {
        let _ = write!(out, " {byte:02x}");
    }
    if bytes.len() > SHOWN_BYTES {
        out.push_str(" …");
    }
    out
}

/// A payload as text if it is, else as bytes; the beginning if it is long.
fn describe_payload(payload: &[u8]) -> String {
    match str::from_utf8(payload) {
        Ok(text) if text.len() <= SHOWN_BYTES => format!("{text:?}"),
        Ok(text) => {
            let shown: String = text.chars().take(SHOWN_BYTES).collect();
            format!("{} bytes: {shown:?} …", payload.len())
        }
        Err(_) => describe_bytes(payload),
    }
}

/// A line that grows by one word or pair at a time.
struct Line(String);

impl Line {
    fn word(&mut self, word: impl fmt::Display) {
        let _ = write!(self.0, " {word}");
    }

    fn pair(&mut self, name: &str, value: impl fmt::Display) {
        let _ = write!(self.0, ", {name} {value}");
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            let _ = write!(self.0, ", {name}");
        }
    }

    fn number(&mut self, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.pair(name, value);
        }
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(name, format_args!("{value:?}"));
        }
    }

    fn user_properties(&mut self, properties: &UserProperties<'_>) {
        for (name, value) in properties.iter() {
            self.pair("user property", format_args!("{name:?}={value:?}"));
        }
    }

    fn codes(&mut self, codes: &[ReasonCode]) {
        for code in codes {
            let _ = write!(self.0, ", {code}");
        }
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        let properties = &connect.properties;
        self.word(connect.version);
        self.word(format_args!("{:?}", connect.client_id));
        self.flag("clean start", connect.clean_start);
        self.pair("keep alive", connect.keep_alive);
        self.text("user name", connect.user_name);
        self.flag("password", connect.password.is_some());
        self.number("session expiry interval", properties.session_expiry_interval);
        self.number("receive maximum", properties.receive_maximum);
        self.number("maximum packet size", properties.maximum_packet_size);
        self.number("topic alias maximum", properties.topic_alias_maximum);
        self.number("request response information", properties.request_response_information);
        self.number("request problem information", properties.request_problem_information);
        self.text("authentication method", properties.authentication_method);
        self.user_properties(&properties.user_properties);
        if let Some(will) = &connect.will {
            self.will(will);
        }
    }

    fn will(&mut self, will: &Will<'_>) {
        let properties = &will.properties;
        self.0.push_str("; will");
        self.word(format_args!("{:?}", will.topic.as_str()));
        self.word(describe_payload(will.payload));
        self.pair("QoS", will.qos.level());
        self.flag("retain", will.retain);
        self.number("will delay interval", properties.will_delay_interval);
        self.number("payload format indicator", properties.payload_format_indicator);
        self.number("message expiry interval", properties.message_expiry_interval);
        self.text("content type", properties.content_type);
        self.text("response topic", properties.response_topic.map(|topic| topic.as_str()));
        self.number("correlation data", properties.correlation_data.map(describe_bytes));
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
        self.user_properties(&properties.user_properties);
    }

    fn publish(&mut self, publish: &Publish<'_>) {
        let properties = &publish.properties;
        if let Some(packet_id) = publish.packet_id {
            self.word(packet_id.value());
        }
        match publish.topic {
            Some(topic) => self.word(format_args!("{:?}", topic.as_str())),
            None => self.word("without topic"),
        }
        self.word(describe_payload(publish.payload));
        self.pair("QoS", publish.qos.level());
        self.flag("retain", publish.retain);
        self.flag("dup", publish.dup);
        self.number("payload format indicator", properties.payload_format_indicator);
        self.number("message expiry interval", properties.message_expiry_interval);
        self.number("topic alias", properties.topic_alias);
        self.text("response topic", properties.response_topic.map(|topic| topic.as_str()));
        self.number("correlation data", properties.correlation_data.map(describe_bytes));
        for identifier in &properties.subscription_identifiers {
            self.pair("subscription identifier", identifier);
        }
        self.text("content type", properties.content_type);
        self.user_properties(&properties.user_properties);
    }

    fn ack(&mut self, ack: &Ack<'_>) {
        self.word(ack.packet_id.value());
        if ack.reason_code != ReasonCode::Success {
            let _ = write!(self.0, ", {}", ack.reason_code);
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
            let _ = write!(self.0, "; {:?}", subscription.filter.as_str());
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
            let _ = write!(self.0, ", {:?}", filter.as_str());
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
        self.flag("authentication data", auth.authentication_data.is_some());
        self.text("reason string", auth.reason_string);
        self.user_properties(&auth.user_properties);
    }
}
