//! The definition of one setting: its name in a file, its flag, what may be written, its help.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};

use crate::configuration::Configuration;
use crate::value::{Kind, Value};

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// The name in a configuration file, with the table in front: `limits.receive_maximum`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// The value in a configuration; `None` if there is none.
    pub(crate) show: fn(&Configuration) -> Option<Value>,
    /// Puts a value, which the kind has accepted, into a configuration.
    pub(crate) set: fn(&mut Configuration, Value),
}

impl Key {
    /// The table of a file in which it stands, and its name there.
    pub(crate) fn table_and_field(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }

    /// Its flag, without the dashes in front. Names are unique even without their tables, but for
    /// the two that say what they are about only with it.
    pub(crate) fn flag(&self) -> String {
        let (table, field) = self.table_and_field();
        match table {
            "log" => format!("{table}-{field}"),
            _ => field.replace('_', "-"),
        }
    }

    pub(crate) fn argument(&self) -> Arg {
        let kind = self.kind;
        let help = match (self.show)(&Configuration::default()) {
            Some(Value::Text(default)) => format!("{} [default: {default}]", self.help),
            Some(default) => format!("{} [default: {default}]", self.help),
            None => self.help.to_owned(),
        };
        let parser = move |text: &str| kind.parse(text).map_err(|allowed| expected(&allowed));
        let argument = Arg::new(self.name)
            .long(self.flag())
            .value_name(kind.value_name())
            .value_parser(ValueParser::new(parser))
            .help(help);
        match kind {
            // So that a number below zero is answered with the range.
            Kind::Bytes { .. } | Kind::Count { .. } | Kind::Seconds { .. } => {
                argument.allow_negative_numbers(true)
            }
            Kind::List => argument.action(ArgAction::Append),
            Kind::Flag => {
                argument.num_args(0..=1).require_equals(true).default_missing_value("true")
            }
            _ => argument,
        }
    }

    /// Takes the flag's value over, if it was given.
    pub(crate) fn apply(&self, matches: &ArgMatches, configuration: &mut Configuration) {
        let Some(values) = matches.get_many::<Value>(self.name) else { return };
        let mut listed = Vec::new();
        for value in values.cloned() {
            match value {
                Value::List(texts) => listed.extend(texts),
                value => (self.set)(configuration, value),
            }
        }
        if self.kind == Kind::List {
            (self.set)(configuration, Value::List(listed));
        }
    }
}

/// The second half of every message about a value.
pub(crate) fn expected(allowed: &str) -> String {
    format!("expected {allowed}")
}
