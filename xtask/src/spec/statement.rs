//! The rows of `spec/*.toml`: one per normative statement, in our words.

use std::fmt;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One normative statement with our judgement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Statement {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) binds: Binds,
    pub(super) subject: String,
    pub(super) status: Status,
    #[serde(default)]
    pub(super) reason: String,
}

/// Who has to keep a statement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Binds {
    Server,
    Client,
    Both,
}

/// How far a statement is kept, in the order of the report's columns.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Done,
    Partial,
    Exception,
    Later,
    #[serde(rename = "n/a")]
    NotApplicable,
    Todo,
}

impl Status {
    pub(super) const ALL: [Self; 6] =
        [Self::Done, Self::Partial, Self::Exception, Self::Later, Self::NotApplicable, Self::Todo];

    fn needs_reason(self) -> bool {
        !matches!(self, Self::Done | Self::Todo)
    }
}

impl Statement {
    pub(super) fn is_todo(&self) -> bool {
        self.status == Status::Todo
    }

    /// Whether code and a test are still expected, or already claimed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.status, Status::Done | Status::Todo)
    }

    pub(super) fn lacks_reason(&self) -> bool {
        self.status.needs_reason() && self.reason.trim().is_empty()
    }
}

impl fmt::Display for Binds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Exception => "exception",
            Self::Later => "later",
            Self::NotApplicable => "n/a",
            Self::Todo => "todo",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    statement: Vec<Statement>,
}

pub(super) fn parse(path: &str, text: &str) -> Result<Vec<Statement>> {
    let document: Document =
        toml::from_str(text).with_context(|| format!("cannot parse {path}"))?;
    Ok(document.statement)
}

/// The ids in a text that may hold anything else: `MQTT5-3.3.2-2` and the like, with positions.
pub(super) fn ids(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("MQTT").filter_map(|(start, _)| {
        let before = text[..start].chars().next_back();
        if before.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let rest = &text[start..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let id = rest[..end].trim_end_matches(['.', '-']);
        is_id(id).then_some((start, id))
    })
}

/// Whether a text is an id as a whole: version, section and number.
pub(super) fn is_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let version = parts.next();
    let (Some(section), Some(number), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(version, Some("MQTT5" | "MQTT311" | "MQTT31"))
        && section.split('.').all(is_number)
        && is_number(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_any_text() {
        let found: Vec<&str> = ids("[MQTT5-3.3.2-2], MQTT311-1.5.3-1. (MQTT31-3.1-1) xMQTT5-1-1")
            .map(|(_, id)| id)
            .collect();
        assert_eq!(found, ["MQTT5-3.3.2-2", "MQTT311-1.5.3-1", "MQTT31-3.1-1"]);
    }

    #[test]
    fn an_id_has_version_section_and_number() {
        assert!(is_id("MQTT5-4.12.0-1"));
        for text in ["MQTT5", "MQTT5-3.3", "MQTT4-3.3-1", "MQTT5-3..3-1", "MQTT5-3.3-1-1"] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn a_row_with_an_unknown_status_or_key_does_not_parse() {
        let row = |status: &str, rest: &str| {
            format!(
                "[[statement]]\nid = \"MQTT5-1-1\"\ntext = \"t\"\nbinds = \"both\"\n\
                 subject = \"text\"\nstatus = \"{status}\"\n{rest}\n"
            )
        };
        assert_eq!(parse("a", &row("n/a", "")).unwrap()[0].status, Status::NotApplicable);
        assert!(parse("a", &row("finished", "")).is_err());
        assert!(parse("a", &row("done", "note = \"x\"")).is_err());
    }
}
