//! Reads a configuration file. Every error names the file, the line, the key, and what is allowed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use noctule_broker::Version;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::configuration::{Configuration, ListenerConfiguration};
use crate::key::{Key, expected};
use crate::key_table::KEYS;
use crate::value::{Kind, Value};

/// The array of tables with one entry for each listener that needs more than an address.
const LISTENER: &str = "listener";
const LISTENER_FIELDS: [&str; 3] = ["address", "allow_anonymous", "versions"];
const VERSIONS: [(&str, Version); 3] =
    [("3.1", Version::V3_1), ("3.1.1", Version::V3_1_1), ("5.0", Version::V5_0)];

/// Reads a file on top of what the configuration holds.
pub(crate) fn read(path: &Path, configuration: &mut Configuration) -> Result<()> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let file = File { name: path.display().to_string(), text: &text };
    file.apply(configuration)
}

struct File<'a> {
    name: String,
    text: &'a str,
}

impl File<'_> {
    fn apply(&self, configuration: &mut Configuration) -> Result<()> {
        let table = DeTable::parse(self.text)
            .map_err(|error| anyhow::anyhow!("{}: {}", self.name, error.to_string().trim_end()))?;
        for (name, value) in table.get_ref().iter() {
            let (place, name) = (name.span().start, name.get_ref().as_ref());
            match value.get_ref() {
                DeValue::Array(listeners) if name == LISTENER => {
                    for listener in listeners.iter() {
                        configuration.listeners.push(self.listener(listener)?);
                    }
                }
                DeValue::Table(table) if is_table(name) => {
                    for (field, value) in table.iter() {
                        let place = field.span().start;
                        let full = format!("{name}.{}", field.get_ref());
                        self.set(configuration, place, &full, value)?;
                    }
                }
                _ => self.set(configuration, place, name, value)?,
            }
        }
        Ok(())
    }

    fn set(
        &self,
        configuration: &mut Configuration,
        place: usize,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<()> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            bail!("{}: there is no key {name}; {}", self.place(place), allowed_beside(name));
        };
        let value = self.checked(place, name, key.kind, value)?;
        (key.set)(configuration, value);
        Ok(())
    }

    fn checked(
        &self,
        place: usize,
        name: &str,
        kind: Kind,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Value> {
        let checked = read_value(value.get_ref())
            .ok_or_else(|| kind.to_string())
            .and_then(|value| kind.check(value));
        checked.map_err(|allowed| {
            let written = self.text.get(value.span()).unwrap_or_default();
            anyhow::anyhow!("{}: {name} = {written}: {}", self.place(place), expected(&allowed))
        })
    }

    fn listener(&self, table: &Spanned<DeValue<'_>>) -> Result<ListenerConfiguration> {
        let place = table.span().start;
        let DeValue::Table(fields) = table.get_ref() else {
            bail!("{}: {LISTENER}: {}", self.place(place), expected("[[listener]] tables"));
        };
        let mut listener = ListenerConfiguration::default();
        for (field, value) in fields.iter() {
            let place = field.span().start;
            let name = format!("{LISTENER}.{}", field.get_ref());
            match field.get_ref().as_ref() {
                "address" => {
                    if let Value::Text(text) = self.checked(place, &name, Kind::Text, value)? {
                        listener.address = text;
                    }
                }
                "allow_anonymous" => {
                    if let Value::Flag(flag) = self.checked(place, &name, Kind::Flag, value)? {
                        listener.allow_anonymous = Some(flag);
                    }
                }
                "versions" => {
                    if let Value::List(texts) = self.checked(place, &name, Kind::List, value)? {
                        listener.versions = Some(self.versions(place, &texts)?);
                    }
                }
                _ => bail!(
                    "{}: there is no key {name}; a listener has {}",
                    self.place(place),
                    LISTENER_FIELDS.join(", ")
                ),
            }
        }
        if listener.address.is_empty() {
            bail!("{}: a {LISTENER} needs an address", self.place(place));
        }
        Ok(listener)
    }

    fn versions(&self, place: usize, texts: &[String]) -> Result<Vec<Version>> {
        let known: Vec<_> = VERSIONS.iter().map(|(text, _)| *text).collect();
        let mut versions = Vec::new();
        for text in texts {
            match VERSIONS.iter().find(|(known, _)| known == text) {
                Some((_, version)) => versions.push(*version),
                None => bail!(
                    "{}: {LISTENER}.versions = {text:?}: {}",
                    self.place(place),
                    expected(&format!("some of {}", known.join(", ")))
                ),
            }
        }
        Ok(versions)
    }

    /// The file and the line of a byte.
    fn place(&self, byte: usize) -> String {
        let before = self.text.get(..byte).unwrap_or_default();
        format!("{}:{}", self.name, before.matches('\n').count() + 1)
    }
}

fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.table_and_field().0 == name)
}

/// The keys of the table in which an unknown one was written.
fn allowed_beside(name: &str) -> String {
    let table = name.rsplit_once('.').map_or("", |(table, _)| table);
    let known = |key: &&Key| key.table_and_field().0 == table;
    let mut fields: Vec<_> = KEYS.iter().filter(known).map(|key| key.table_and_field().1).collect();
    if table.is_empty() {
        fields.extend([LISTENER, "limits", "features", "log"]);
        return format!("known are {}", fields.join(", "));
    }
    format!("[{table}] has {}", fields.join(", "))
}

fn read_value(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::Text(text.to_string())),
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Number)
        }
        DeValue::Boolean(flag) => Some(Value::Flag(*flag)),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| match value.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            });
            texts.collect::<Option<_>>().map(Value::List)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration> {
        let mut configuration = Configuration::default();
        File { name: "test.toml".to_owned(), text }.apply(&mut configuration)?;
        Ok(configuration)
    }

    #[test]
    fn a_file_sets_what_it_names() {
        let configuration = parse(
            "listen = [\"127.0.0.1:1884\"]\n\
             [limits]\n\
             maximum_packet_size = \"1MiB\"\n\
             receive_maximum = 20\n\
             [features]\n\
             maximum_qos = \"1\"\n\
             [[listener]]\n\
             address = \"unix:/tmp/x\"\n\
             versions = [\"5.0\"]\n",
        )
        .unwrap();
        assert_eq!(configuration.listen, ["127.0.0.1:1884"]);
        assert_eq!(configuration.limits.maximum_packet_size, 1 << 20);
        assert_eq!(configuration.limits.receive_maximum, 20);
        assert_eq!(configuration.listeners[0].versions, Some(vec![Version::V5_0]));
        assert_eq!(configuration.limits.connections_max, 1_000_000);
    }

    #[test]
    fn errors_name_line_key_value_and_what_is_allowed() {
        fn check(text: &str, expected: &[&str]) {
            let error = parse(text).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{part} is missing in: {error}");
            }
        }
        check("\nlisten_on = 1", &["test.toml:2", "listen_on", "listen, allow_anonymous"]);
        check(
            "[limits]\nreceive_maximum = 0",
            &["test.toml:2", "limits.receive_maximum = 0", "from 1 to 65535"],
        );
        check("[limits]\nqueue = 0", &["test.toml:2", "limits.queue", "queue_bytes_max"]);
        check("[limits]\nreceive_maximum = -1", &["= -1", "from 1 to 65535"]);
        check("[limits]\nreceive_maximum = \"x\"", &["= \"x\"", "from 1 to 65535"]);
        check("log.format = \"xml\"", &["log.format = \"xml\"", "text, json"]);
        check("allow_anonymous = 1", &["allow_anonymous = 1", "true or false"]);
        check("listen = \"x\"", &["listen = \"x\"", "a list"]);
        check("limits = 1", &["limits"]);
        check("[other]\na = 1", &["there is no key other"]);
        check("[[listener]]\nversions = []", &["needs an address"]);
        check("[[listener]]\naddress = \"a:1\"\nversions = [\"4\"]", &["\"4\"", "3.1.1"]);
        check("[[listener]]\nport = 1", &["test.toml:2", "listener.port", "address"]);
        check("listen = [", &["test.toml", "line 1"]);
    }
}
