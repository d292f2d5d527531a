//! Reads a configuration file. Every error names the file, the line, the key, and what is allowed.

use std::fs::File as StdFile;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use noctule_broker::{Durability, Version};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::configuration::{Configuration, ListenerConfiguration};
use crate::key::{Key, expected};
use crate::key_table::KEYS;
use crate::value::{Kind, Value};

/// The array of tables with one entry for each listener that needs more than an address.
const LISTENER: &str = "listener";
/// More than any configuration needs; what is larger is another file, or has no end.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const LISTENER_FIELDS: [&str; 5] =
    ["address", "allow_anonymous", "durability", "tell_durability", "versions"];
const DURABILITIES: [Durability; 3] =
    [Durability::Stored, Durability::Interval, Durability::Memory];
const DURABILITY: Kind = Kind::Choice(&["local", "interval", "memory"]);
const VERSIONS: [(&str, Version); 3] =
    [("3.1", Version::V3_1), ("3.1.1", Version::V3_1_1), ("5.0", Version::V5_0)];

/// Reads a file on top of what the configuration holds.
pub(crate) fn read(path: &Path, configuration: &mut Configuration) -> Result<()> {
    let text = read_text(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let file = File { name: path.display().to_string(), text: &text };
    file.apply(configuration)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // One byte more than is allowed shows that there is more.
    StdFile::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
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
                _ if name == LISTENER => {
                    let allowed = format!("[[{LISTENER}]] tables");
                    return Err(self.refusal(place, name, value, &allowed));
                }
                DeValue::Table(table) if is_table(name) => {
                    for (field, value) in table.iter() {
                        let place = field.span().start;
                        let full = format!("{name}.{}", field.get_ref());
                        self.set(configuration, place, &full, value)?;
                    }
                }
                _ if is_table(name) => {
                    return Err(self.refusal(place, name, value, &format!("a [{name}] table")));
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
        checked.map_err(|allowed| self.refusal(place, name, value, &allowed))
    }

    /// Names a value that is not allowed: as it was written, where that is one line.
    fn refusal(
        &self,
        place: usize,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        allowed: &str,
    ) -> anyhow::Error {
        let (place, expected) = (self.place(place), expected(allowed));
        let is_section = match value.get_ref() {
            DeValue::Table(_) => {
                self.text.get(value.span()).is_none_or(|text| !text.starts_with('{'))
            }
            DeValue::Array(values) => {
                values.iter().any(|value| matches!(value.get_ref(), DeValue::Table(_)))
            }
            _ => false,
        };
        let written = self.text.get(value.span()).filter(|_| !is_section);
        match written {
            Some(written) => anyhow::anyhow!("{place}: {name} = {written}: {expected}"),
            None => anyhow::anyhow!("{place}: {name}: {expected}"),
        }
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
                "durability" => {
                    if let Value::Text(text) = self.checked(place, &name, DURABILITY, value)? {
                        listener.durability =
                            DURABILITIES.into_iter().find(|known| known.name() == text);
                    }
                }
                "tell_durability" => {
                    if let Value::Flag(flag) = self.checked(place, &name, Kind::Flag, value)? {
                        listener.tell_durability = flag;
                    }
                }
                "versions" => {
                    if let Value::List(texts) = self.checked(place, &name, Kind::List, value)? {
                        listener.versions = Some(self.versions(place, &name, value, &texts)?);
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

    fn versions(
        &self,
        place: usize,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        texts: &[String],
    ) -> Result<Vec<Version>> {
        let version = |text: &String| VERSIONS.iter().find(|(known, _)| known == text);
        let versions: Option<Vec<_>> =
            texts.iter().map(|text| version(text).map(|(_, version)| *version)).collect();
        // A listener without a version would refuse everybody.
        versions.filter(|versions| !versions.is_empty()).ok_or_else(|| {
            let known: Vec<_> = VERSIONS.iter().map(|(text, _)| *text).collect();
            self.refusal(place, name, value, &format!("some of {}", known.join(", ")))
        })
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

/// The key that was probably meant, or those of the table in which an unknown one was written.
fn allowed_beside(name: &str) -> String {
    let field = name.rsplit('.').next().unwrap_or(name).replace('_', "-");
    if let Some(key) = KEYS.iter().find(|key| key.flag() == field) {
        return format!("did you mean {}?", key.name);
    }
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
             versions = [\"5.0\"]\n\
             durability = \"memory\"\n\
             tell_durability = true\n",
        )
        .unwrap();
        assert_eq!(configuration.listeners[0].durability, Some(Durability::Memory));
        assert!(configuration.listeners[0].tell_durability);
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
        check("limits = 1", &["limits = 1", "a [limits] table"]);
        check("listener = 1", &["listener = 1", "[[listener]] tables"]);
        check("limits.in_flight_max.x = 1", &["limits.in_flight_max", "from 1 to"]);
        check("[other]\na = 1", &["there is no key other"]);
        check("[[listener]]\nversions = [\"5.0\"]", &["needs an address"]);
        check("[[listener]]\naddress = \"a:1\"\nversions = [\"4\"]", &["\"4\"", "3.1.1"]);
        check("[[listener]]\nport = 1", &["test.toml:2", "listener.port", "address"]);
        check("listen = [", &["test.toml", "line 1"]);
    }
}
