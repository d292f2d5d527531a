//! `-D COMMAND PROPERTY VALUE`: the properties of MQTT 5.0 packets.

use noctule_client::{DisconnectOptions, PublishProperties, TopicName, UserProperties};

use super::authentication::Authentication;
use super::failure::Failure;

const USER_PROPERTY: &str = "user-property";

/// What `-D` says, by the packet that it is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    pub(crate) connect: ConnectProperties,
    pub(crate) publish: MessageProperties,
    pub(crate) will: MessageProperties,
    pub(crate) subscription_identifier: Option<u32>,
    /// Of SUBSCRIBE.
    pub(crate) subscribe: UserProperties<'static>,
    /// Of UNSUBSCRIBE.
    pub(crate) unsubscribe: UserProperties<'static>,
    pub(crate) disconnect: DisconnectProperties,
    is_empty: bool,
}

/// The properties of DISCONNECT.
#[derive(Clone, Debug, Default)]
pub(crate) struct DisconnectProperties {
    session_expiry_interval: Option<u32>,
    user_properties: UserProperties<'static>,
}

/// The properties of CONNECT.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectProperties {
    pub(crate) authentication: Authentication,
    pub(crate) session_expiry_interval: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) request_problem_information: Option<bool>,
    pub(crate) request_response_information: Option<bool>,
    pub(crate) user_properties: UserProperties<'static>,
}

/// The properties of a message or a will.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MessageProperties {
    pub(crate) content_type: Option<String>,
    pub(crate) correlation_data: Option<Vec<u8>>,
    pub(crate) message_expiry_interval: Option<u32>,
    pub(crate) payload_format_indicator: Option<bool>,
    pub(crate) response_topic: Option<String>,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) will_delay_interval: Option<u32>,
    pub(crate) user_properties: UserProperties<'static>,
}

impl Properties {
    /// Reads what was given, one after the other: the packet, the property, and its value, or two
    /// for a user property.
    pub(crate) fn read(given: &[String]) -> Result<Self, Failure> {
        let mut properties = Self { is_empty: given.is_empty(), ..Self::default() };
        let mut rest = given;
        while !rest.is_empty() {
            let count = if rest.get(1).is_some_and(|it| it == USER_PROPERTY) { 4 } else { 3 };
            let (words, behind) = rest.split_at(count.min(rest.len()));
            properties.set(words).map_err(|problem| {
                Failure::usage(format!("-D {}: {problem}; see --help", words.join(" ")))
            })?;
            rest = behind;
        }
        match properties.connect.authentication.problem() {
            Some(problem) => Err(Failure::usage(format!("-D {problem}"))),
            None => Ok(properties),
        }
    }

    /// Whether nothing was given.
    pub(crate) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn set(&mut self, words: &[String]) -> Result<(), String> {
        let (command, name, values) = match words {
            [command, name, values @ ..] => (command.as_str(), name.as_str(), values),
            _ => return Err("expected COMMAND PROPERTY VALUE".to_owned()),
        };
        let (value, second) = match values {
            [value] if name != USER_PROPERTY => (value, None),
            [value, second] if name == USER_PROPERTY => (value, Some(second)),
            _ if name == USER_PROPERTY => return Err("expected a name and a value".to_owned()),
            _ => return Err("expected a value".to_owned()),
        };
        let user = second.map(|second| (value.as_str(), second.as_str()));
        match command {
            "connect" => self.connect.set(name, value, user),
            "publish" if name == "will-delay-interval" => Err(unknown(command)),
            "will" if name == "topic-alias" => Err(unknown(command)),
            "publish" => self.publish.set(name, value, user, command),
            "will" => self.will.set(name, value, user, command),
            "subscribe" if name == "subscription-identifier" => {
                self.subscription_identifier = Some(number(value)?);
                Ok(())
            }
            "subscribe" if name == USER_PROPERTY => push(&mut self.subscribe, user),
            "unsubscribe" if name == USER_PROPERTY => push(&mut self.unsubscribe, user),
            "disconnect" if name == USER_PROPERTY => {
                push(&mut self.disconnect.user_properties, user)
            }
            "disconnect" if name == "session-expiry-interval" => {
                self.disconnect.session_expiry_interval = Some(number(value)?);
                Ok(())
            }
            "auth" if name == "authentication-data" => {
                self.connect.authentication.answer = Some(value.as_bytes().to_vec());
                Ok(())
            }
            "auth" | "disconnect" | "subscribe" | "unsubscribe" => Err(unknown(command)),
            _ => {
                let expected =
                    "expected connect, publish, will, subscribe, unsubscribe, auth or disconnect";
                Err(expected.to_owned())
            }
        }
    }
}

impl ConnectProperties {
    fn set(&mut self, name: &str, value: &str, user: Option<(&str, &str)>) -> Result<(), String> {
        match name {
            "authentication-method" => self.authentication.method = Some(value.to_owned()),
            "authentication-data" => {
                self.authentication.data = Some(value.as_bytes().to_vec());
            }
            "session-expiry-interval" => self.session_expiry_interval = Some(number(value)?),
            "receive-maximum" => self.receive_maximum = Some(number(value)?),
            "maximum-packet-size" => self.maximum_packet_size = Some(number(value)?),
            "topic-alias-maximum" => self.topic_alias_maximum = Some(number(value)?),
            "request-problem-information" => {
                self.request_problem_information = Some(zero_or_one(value)?);
            }
            "request-response-information" => {
                self.request_response_information = Some(zero_or_one(value)?);
            }
            USER_PROPERTY => push(&mut self.user_properties, user)?,
            _ => return Err(unknown("connect")),
        }
        Ok(())
    }
}

impl DisconnectProperties {
    /// What DISCONNECT says, if there is more to say than that.
    pub(crate) fn options(&self) -> Option<DisconnectOptions<'static>> {
        if self.session_expiry_interval.is_none() && self.user_properties.is_empty() {
            return None;
        }
        Some(DisconnectOptions {
            session_expiry_interval: self.session_expiry_interval,
            user_properties: self.user_properties.clone(),
            ..DisconnectOptions::default()
        })
    }
}

impl MessageProperties {
    /// Whether nothing was given.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn set(
        &mut self,
        name: &str,
        value: &str,
        user: Option<(&str, &str)>,
        command: &str,
    ) -> Result<(), String> {
        match name {
            "content-type" => self.content_type = Some(value.to_owned()),
            "correlation-data" => self.correlation_data = Some(value.as_bytes().to_vec()),
            "message-expiry-interval" => self.message_expiry_interval = Some(number(value)?),
            "payload-format-indicator" => self.payload_format_indicator = Some(zero_or_one(value)?),
            "response-topic" => {
                TopicName::new(value).map_err(|error| error.to_string())?;
                self.response_topic = Some(value.to_owned());
            }
            "topic-alias" => self.topic_alias = Some(number(value)?),
            "will-delay-interval" => self.will_delay_interval = Some(number(value)?),
            USER_PROPERTY => push(&mut self.user_properties, user)?,
            _ => return Err(unknown(command)),
        }
        Ok(())
    }

    /// As a PUBLISH has them.
    pub(crate) fn of_publish(&self) -> PublishProperties<'_> {
        let response_topic = self.response_topic.as_deref();
        PublishProperties {
            payload_format_indicator: self.payload_format_indicator,
            message_expiry_interval: self.message_expiry_interval,
            response_topic: response_topic.and_then(|topic| TopicName::new(topic).ok()),
            correlation_data: self.correlation_data.as_deref(),
            user_properties: self.user_properties.clone(),
            content_type: self.content_type.as_deref(),
            topic_alias: self.topic_alias,
            ..PublishProperties::default()
        }
    }
}

fn push(to: &mut UserProperties<'static>, pair: Option<(&str, &str)>) -> Result<(), String> {
    let Some((name, value)) = pair else { return Err("expected a name and a value".to_owned()) };
    to.push(name, value).map_err(|error| error.to_string())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "the value is not a number that this property can have".to_owned())
}

fn zero_or_one(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("expected 0 or 1".to_owned()),
    }
}

fn unknown(command: &str) -> String {
    let known = match command {
        "connect" => {
            "session-expiry-interval, receive-maximum, maximum-packet-size, topic-alias-maximum, \
             request-problem-information, request-response-information, authentication-method, \
             authentication-data and user-property"
        }
        "publish" => {
            "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
             response-topic, topic-alias and user-property"
        }
        "will" => {
            "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
             response-topic, will-delay-interval and user-property"
        }
        "subscribe" => "subscription-identifier and user-property",
        "unsubscribe" => "user-property",
        "auth" => "authentication-data",
        "disconnect" => "session-expiry-interval and user-property",
        _ => "nothing",
    };
    format!("{known} can be set for {command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Properties, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        Properties::read(&words).map_err(|failure| failure.message)
    }

    #[test]
    fn properties_go_where_they_belong() {
        assert_eq!(read("connect receive-maximum 7").unwrap().connect.receive_maximum, Some(7));
        let publish = read("publish content-type text/plain").unwrap().publish;
        assert_eq!(publish.of_publish().content_type, Some("text/plain"));
        let will = read("will will-delay-interval 9").unwrap().will;
        assert_eq!((will.will_delay_interval, will.is_empty()), (Some(9), false));
        let publish = read("publish user-property a b").unwrap().publish;
        assert!(publish.user_properties.iter().eq([("a", "b")]));
        let several =
            read("subscribe subscription-identifier 3 publish user-property a b").unwrap();
        assert_eq!(several.subscription_identifier, Some(3));
        assert_eq!(several.publish.user_properties.len(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (words, expected) in [
            ("publish user-property a", "a name and a value"),
            ("publish content-type a b", "expected COMMAND PROPERTY VALUE"),
            ("publish content-type", "expected a value"),
            ("will topic-alias 3", "can be set for will"),
            ("publish topic-alias 65536", "not a number"),
            ("publish will-delay-interval 3", "can be set for publish"),
            ("publish response-topic a/#", "wildcard"),
            ("publish payload-format-indicator 2", "0 or 1"),
            ("connect receive-maximum 65536", "not a number"),
            ("connect server-keep-alive 3", "can be set for connect"),
            ("connect authentication-data x", "needs -D connect authentication-method"),
            ("auth authentication-data x", "needs -D connect authentication-method"),
            ("disconnect receive-maximum 3", "can be set for disconnect"),
            ("unsubscribe session-expiry-interval 3", "user-property can be set for unsubscribe"),
            ("auth user-property a b", "authentication-data can be set for auth"),
            ("wish a b", "expected connect, publish, will, subscribe, unsubscribe, auth or"),
        ] {
            let message = read(words).unwrap_err();
            assert!(message.contains(expected), "{words}: {message}");
        }
    }
}
