//! CONNECT of a member of the cast.

use anyhow::Result;
use noctule_packet::{Connect, ConnectProperties, QoS, TopicName, Will, WillProperties};

use super::cast::Member;
use super::content;
use super::journal::Opening;

/// For how long a session outlives its connection: longer than any test.
const SESSION_EXPIRY_SECONDS: u32 = 86_400;

/// Nobody pings: no connection lasts so long.
const KEEP_ALIVE_SECONDS: u16 = 600;

pub(super) fn encode(member: &Member, opening: &Opening, out: &mut Vec<u8>) -> Result<()> {
    let version = member.version;
    let payload = content::will_payload(opening.connection);
    let topic = content::will_topic(opening.connection);
    let delay = Some(member.will_delay()).filter(|delay| version.is_v5() && *delay > 0);
    let will = match opening.will {
        None => None,
        Some(_) => Some(Will {
            qos: if version.is_v5() { QoS::ExactlyOnce } else { QoS::AtLeastOnce },
            retain: false,
            properties: WillProperties { will_delay_interval: delay, ..WillProperties::default() },
            topic: TopicName::new(&topic)?,
            payload: &payload,
        }),
    };
    let expiry = (opening.is_stored && version.is_v5()).then_some(SESSION_EXPIRY_SECONDS);
    let connect = Connect {
        version,
        clean_start: opening.clean_start,
        keep_alive: KEEP_ALIVE_SECONDS,
        properties: ConnectProperties {
            session_expiry_interval: expiry,
            ..ConnectProperties::default()
        },
        client_id: &member.name,
        will,
        user_name: None,
        password: None,
    };
    Ok(connect.encode(out)?)
}
