//! One line about one thing: an object of JSON, or a word and its fields as in the log.

use std::io::{self, Write};

use serde_json::Value;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text,
}

/// One thing with its fields, in the order in which people read them.
#[derive(Debug)]
pub(super) struct Line {
    kind: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    pub(super) fn of(kind: &'static str) -> Self {
        Self { kind, fields: Vec::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// A field that not all have.
    pub(super) fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn write(&self, form: Form, out: &mut impl Write) -> io::Result<()> {
        match form {
            Form::Json => {
                write!(out, "{{\"kind\":{}", Value::from(self.kind))?;
                for (name, value) in &self.fields {
                    write!(out, ",\"{name}\":{value}")?;
                }
                writeln!(out, "}}")
            }
            Form::Text => {
                write!(out, "{}", self.kind)?;
                for (name, value) in &self.fields {
                    write!(out, " {name}={value}")?;
                }
                writeln!(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_fields_in_order() {
        let line = Line::of("session").with("name", "a\"b").with("at", 7).maybe("no", None::<u64>);
        let text = |form| {
            let mut out = Vec::new();
            line.write(form, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Form::Text), "session name=\"a\\\"b\" at=7\n");
        assert_eq!(text(Form::Json), "{\"kind\":\"session\",\"name\":\"a\\\"b\",\"at\":7}\n");
    }
}
