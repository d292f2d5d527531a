//! Writes every setting with its default and its meaning, as a file that changes nothing.

use std::fmt::Write;

use crate::configuration::{Configuration, DEFAULT_ADDRESSES};
use crate::key_table::KEYS;
use crate::value::{Kind, Value};

/// The text of a configuration file in which every line is a comment.
pub(crate) fn default_configuration() -> String {
    let defaults = Configuration::default();
    let mut text = String::from(
        "# Every setting of noctule serve with its default.\n\
         # Remove the # in front of a key to set it.\n",
    );
    // A key without a table must stand before the first table.
    let mut tables = vec![""];
    for key in KEYS {
        let (table, _) = key.table_and_field();
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    for table in tables {
        if !table.is_empty() {
            let _ = write!(text, "\n[{table}]\n");
        }
        for key in KEYS.iter().filter(|key| key.table_and_field().0 == table) {
            let (_, field) = key.table_and_field();
            let _ = write!(text, "\n# {}\n# Allowed: {}.\n", key.help, key.kind);
            let _ = match (key.show)(&defaults) {
                Some(value) => writeln!(text, "#{field} = {value}"),
                None => writeln!(text, "# For example:\n#{field} = {}", example(key.kind)),
            };
        }
    }
    text.push_str(
        "\n# A way in with its own settings; can be written more than once.\n\
         #[[listener]]\n#address = \"127.0.0.1:1883\"\n#versions = [\"3.1\", \"3.1.1\", \"5.0\"]\n\
         #allow_anonymous = true\n\
         # What an acknowledgement means here: what it means for the broker, or \"memory\"; and\n\
         # whether CONNACK says so, in a User Property.\n\
         #durability = \"memory\"\n#tell_durability = false\n",
    );
    text
}

/// What could be written for a key that has no default.
fn example(kind: Kind) -> Value {
    match kind {
        Kind::Flag => Value::Flag(true),
        Kind::List => Value::List(DEFAULT_ADDRESSES.map(str::to_owned).into()),
        Kind::Choice(words) => Value::Text(words.concat()),
        Kind::Count { max, .. } => Value::Number(max.min(4)),
        Kind::Bytes { max, .. } | Kind::Seconds { max, .. } => Value::Number(max),
        Kind::Directory => Value::Text("/var/lib/noctule".to_owned()),
        Kind::Text => Value::Text("replies/".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_configuration_is_one_with_and_without_the_comments() {
        let text = default_configuration();
        toml::de::DeTable::parse(&text).unwrap();
        let uncommented: String = text
            .lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| format!("{}\n", line.trim_start_matches('#')))
            .collect();
        let path = std::env::temp_dir().join(format!("noctule-print-{}", std::process::id()));
        std::fs::write(&path, uncommented).unwrap();
        let read = crate::config_file::read(&path, &mut Configuration::default());
        std::fs::remove_file(&path).unwrap();
        read.unwrap();
    }
}
