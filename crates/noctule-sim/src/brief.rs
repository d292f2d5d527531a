//! Packets in a few words, for traces.

use noctule_packet::{Ack, Packet};

use crate::oracle::publication::PublicationId;

/// What stands in a packet, as far as a run uses it.
pub(crate) fn brief(packet: &Packet<'_>) -> String {
    let name = format!("{:?}", packet.packet_type()).to_uppercase();
    match packet {
        Packet::Connect(connect) => {
            let (version, clean_start) = (connect.version, connect.clean_start);
            let will = connect.will.as_ref().map(|will| {
                let id = PublicationId::in_payload(will.payload).map(|id| id.0);
                let delay = will.properties.will_delay_interval;
                format!(", will {id:?} on {} delay {delay:?}", will.topic.as_str())
            });
            let expiry = connect.properties.session_expiry_interval;
            let will = will.unwrap_or_default();
            format!("{name} {version} clean {clean_start} expiry {expiry:?}{will}")
        }
        Packet::Connack(connack) => format!("{name} present {}", connack.session_present),
        Packet::Publish(publish) => {
            let id = PublicationId::in_payload(publish.payload).map(|id| id.0);
            let packet_id = publish.packet_id.map(|packet_id| packet_id.value());
            let topic = publish.topic.map_or("(alias)", |topic| topic.as_str());
            let dup = if publish.dup { " dup" } else { "" };
            let retain = if publish.retain { " retain" } else { "" };
            let level = publish.qos.level();
            format!("{name} {id:?} {topic} q{level} id {packet_id:?}{dup}{retain}")
        }
        Packet::Puback(Ack { packet_id, reason_code, .. })
        | Packet::Pubrec(Ack { packet_id, reason_code, .. })
        | Packet::Pubrel(Ack { packet_id, reason_code, .. })
        | Packet::Pubcomp(Ack { packet_id, reason_code, .. }) => {
            format!("{name} {} {reason_code:?}", packet_id.value())
        }
        Packet::Subscribe(subscribe) => {
            let one = |subscription: noctule_packet::Subscription<'_>| {
                let options = subscription.options;
                let level = options.qos.level();
                let handling = options.retain_handling;
                format!(" {} q{level} {handling:?}", subscription.filter.as_str())
            };
            let filters: String = subscribe.subscriptions.iter().map(one).collect();
            format!("{name} {}{filters}", subscribe.packet_id.value())
        }
        Packet::Suback(suback) => format!("{name} {}", suback.packet_id.value()),
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<&str> = unsubscribe.filters.iter().map(|f| f.as_str()).collect();
            format!("{name} {} {}", unsubscribe.packet_id.value(), filters.join(" "))
        }
        Packet::Unsuback(unsuback) => format!("{name} {}", unsuback.packet_id.value()),
        Packet::Disconnect(disconnect) => format!("{name} {:?}", disconnect.reason_code),
        Packet::Pingreq | Packet::Pingresp | Packet::Auth(_) => name,
    }
}
