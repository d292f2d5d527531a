//! Which strings of the user's may go into a packet.

use noctule_packet::{TextRules, UserProperties};

/// Whether a string may: it is not too long, and has no character that the rules exclude.
// [MQTT5-1.5.4-2] [MQTT311-1.5.3-2]
pub(crate) fn is_text(rules: TextRules, text: &str) -> bool {
    text.len() <= usize::from(u16::MAX) && rules.check(text.as_bytes()).is_ok()
}

/// Whether all user properties may.
pub(crate) fn are_texts(rules: TextRules, properties: &UserProperties<'_>) -> bool {
    // What is forbidden under any rules cannot be among them.
    rules == TextRules::Lenient
        || properties.iter().all(|(name, value)| is_text(rules, name) && is_text(rules, value))
}
