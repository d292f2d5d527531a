//! A message as one line of JSON.

use jiff::Zoned;
use jiff::fmt::strtime;
use noctule_client::Message;
use serde_json::{Map, Value, json};

use super::format::Unwritable;

const TIME: &str = "%Y-%m-%dT%H:%M:%S.%6f%z";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends a message whose payload is a string, or `payload_base64` if it is no text.
pub(crate) fn write(message: &Message, now: &Zoned, out: &mut Vec<u8>) {
    let payload = message.payload();
    let field = match std::str::from_utf8(payload) {
        Ok(text) => ("payload", Value::from(text).to_string()),
        Err(_) => ("payload_base64", Value::from(base64(payload)).to_string()),
    };
    write_object(message, now, field, out);
}

/// Appends a message whose payload is JSON and stays so.
pub(crate) fn write_with_payload(
    message: &Message,
    now: &Zoned,
    out: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    let payload = message.payload();
    // Numbers stay as they are written, but line breaks must not remain.
    let parsed: Value = serde_json::from_slice(payload).map_err(|_| Unwritable::NotJson)?;
    let has_line_break = payload.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let text = match std::str::from_utf8(payload) {
        Ok(text) if !has_line_break => text.trim().to_owned(),
        _ => parsed.to_string(),
    };
    write_object(message, now, ("payload", text), out);
    Ok(())
}

/// The fields in the order in which people read them.
fn write_object(message: &Message, now: &Zoned, payload: (&str, String), out: &mut Vec<u8>) {
    let time = strtime::format(TIME, now).unwrap_or_default();
    let mut fields = vec![
        ("tst", Value::from(time).to_string()),
        ("topic", Value::from(&**message.topic()).to_string()),
        ("qos", (message.qos() as u8).to_string()),
        ("retain", u8::from(message.retain()).to_string()),
        ("payloadlen", message.payload().len().to_string()),
    ];
    fields.extend(message.packet_id().map(|id| ("mid", id.value().to_string())));
    fields.push(payload);
    let properties = properties(message);
    if !properties.is_empty() {
        fields.push(("properties", Value::from(properties).to_string()));
    }
    for (at, (name, value)) in fields.iter().enumerate() {
        let separator = if at == 0 { "{" } else { "," };
        out.extend_from_slice(format!("{separator}\"{name}\":{value}").as_bytes());
    }
    out.push(b'}');
}

fn properties(message: &Message) -> Map<String, Value> {
    let from = message.properties();
    let mut to = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            to.insert(name.to_owned(), value);
        }
    };
    put("content-type", from.content_type.map(Value::from));
    if let Some(data) = from.correlation_data {
        match std::str::from_utf8(data) {
            Ok(text) => put("correlation-data", Some(text.into())),
            Err(_) => put("correlation-data_base64", Some(base64(data).into())),
        }
    }
    put("message-expiry-interval", message.message_expiry_interval().map(Value::from));
    let indicator = from.payload_format_indicator.map(u8::from);
    put("payload-format-indicator", indicator.map(Value::from));
    put("response-topic", from.response_topic.map(|topic| topic.as_str().into()));
    let identifiers = message.subscription_identifiers();
    put("subscription-identifiers", (!identifiers.is_empty()).then(|| identifiers.into()));
    let user: Vec<Value> = from
        .user_properties
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    put("topic-alias", message.topic_alias().map(Value::from));
    put("user-properties", (!user.is_empty()).then(|| user.into()));
    to
}

/// Bytes as text.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sextet = bits >> (18 - 6 * at) & 0x3F;
            let letter = BASE64.get(sextet as usize).copied().unwrap_or_default();
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(b"\xfb\xff\xfe"), "+//+");
    }
}
