//! A CONNECT that owns what it holds, and its builder.

use noctule_packet::{Connect, ConnectProperties, Version};

use super::{OwnedWill, lend_user_properties, own_user_properties};

/// A CONNECT: what a test builds to send, and what [`Peer::expect_connect`](crate::Peer) returns.
///
/// ```
/// use noctule_testkit::{OwnedConnect, OwnedWill};
///
/// let connect = OwnedConnect::v5("boiler")
///     .clean_start(false)
///     .session_expiry_interval(3_600)
///     .receive_maximum(2)
///     .will(OwnedWill::new("boiler/state", "gone").retain(true));
/// assert_eq!(connect.receive_maximum, Some(2));
/// ```
///
/// Properties are sent in 5.0 only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's, described at their setters")]
pub struct OwnedConnect {
    pub version: Version,
    pub clean_start: bool,
    pub keep_alive: u16,
    pub client_id: String,
    pub will: Option<OwnedWill>,
    pub user_name: Option<String>,
    pub password: Option<Vec<u8>>,
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: Option<u16>,
    pub request_response_information: Option<bool>,
    pub request_problem_information: Option<bool>,
    pub user_properties: Vec<(String, String)>,
    pub authentication_method: Option<String>,
    pub authentication_data: Option<Vec<u8>>,
}

impl OwnedConnect {
    /// A CONNECT with clean start and keep alive 0 (a script does not ping on its own), without
    /// properties.
    pub fn new(version: Version, client_id: &str) -> Self {
        OwnedConnect {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id: client_id.to_owned(),
            will: None,
            user_name: None,
            password: None,
            session_expiry_interval: None,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: None,
            request_response_information: None,
            request_problem_information: None,
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        }
    }

    /// A CONNECT of MQTT 5.0.
    pub fn v5(client_id: &str) -> Self {
        Self::new(Version::V5_0, client_id)
    }

    /// A CONNECT of MQTT 3.1.1.
    pub fn v311(client_id: &str) -> Self {
        Self::new(Version::V3_1_1, client_id)
    }

    /// A CONNECT of MQTT 3.1.
    pub fn v31(client_id: &str) -> Self {
        Self::new(Version::V3_1, client_id)
    }

    /// Whether an earlier session is deleted; before 5.0, whether the session ends with the
    /// connection too.
    #[must_use]
    pub const fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// A session that outlives the connection, in any version: no clean start, and in 5.0 an expiry
    /// interval of so many seconds.
    #[must_use]
    pub const fn resumable(mut self, seconds: u32) -> Self {
        self.clean_start = false;
        if self.version.is_v5() {
            self.session_expiry_interval = Some(seconds);
        }
        self
    }

    /// The keep alive in seconds.
    #[must_use]
    pub const fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// The will.
    #[must_use]
    pub fn will(mut self, will: OwnedWill) -> Self {
        self.will = Some(will);
        self
    }

    /// The user name.
    #[must_use]
    pub fn user_name(mut self, user_name: &str) -> Self {
        self.user_name = Some(user_name.to_owned());
        self
    }

    /// The password.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// How many seconds the session outlives the connection.
    #[must_use]
    pub const fn session_expiry_interval(mut self, seconds: u32) -> Self {
        self.session_expiry_interval = Some(seconds);
        self
    }

    /// How many unacknowledged QoS 1 and 2 messages this peer takes.
    #[must_use]
    pub const fn receive_maximum(mut self, maximum: u16) -> Self {
        self.receive_maximum = Some(maximum);
        self
    }

    /// The longest packet that this peer takes; a longer one fails the test.
    #[must_use]
    pub const fn maximum_packet_size(mut self, size: u32) -> Self {
        self.maximum_packet_size = Some(size);
        self
    }

    /// The highest topic alias that this peer takes.
    #[must_use]
    pub const fn topic_alias_maximum(mut self, maximum: u16) -> Self {
        self.topic_alias_maximum = Some(maximum);
        self
    }

    /// Whether the server may send response information.
    #[must_use]
    pub const fn request_response_information(mut self, request: bool) -> Self {
        self.request_response_information = Some(request);
        self
    }

    /// Whether the server may send reason strings and user properties with every packet.
    #[must_use]
    pub const fn request_problem_information(mut self, request: bool) -> Self {
        self.request_problem_information = Some(request);
        self
    }

    /// One more user property.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.user_properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The method and the first data of enhanced authentication.
    #[must_use]
    pub fn authentication(mut self, method: &str, data: impl AsRef<[u8]>) -> Self {
        self.authentication_method = Some(method.to_owned());
        self.authentication_data = Some(data.as_ref().to_vec());
        self
    }

    /// A copy of the packet.
    pub fn copy_of(connect: &Connect<'_>) -> Self {
        let properties = &connect.properties;
        OwnedConnect {
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            client_id: connect.client_id.to_owned(),
            will: connect.will.as_ref().map(OwnedWill::copy_of),
            user_name: connect.user_name.map(str::to_owned),
            password: connect.password.map(<[u8]>::to_vec),
            session_expiry_interval: properties.session_expiry_interval,
            receive_maximum: properties.receive_maximum,
            maximum_packet_size: properties.maximum_packet_size,
            topic_alias_maximum: properties.topic_alias_maximum,
            request_response_information: properties.request_response_information,
            request_problem_information: properties.request_problem_information,
            user_properties: own_user_properties(&properties.user_properties),
            authentication_method: properties.authentication_method.map(str::to_owned),
            authentication_data: properties.authentication_data.map(<[u8]>::to_vec),
        }
    }

    /// The packet to send.
    ///
    /// # Panics
    ///
    /// When a topic is not valid.
    #[track_caller]
    pub fn to_packet(&self) -> Connect<'_> {
        let properties = if self.version.is_v5() {
            ConnectProperties {
                session_expiry_interval: self.session_expiry_interval,
                receive_maximum: self.receive_maximum,
                maximum_packet_size: self.maximum_packet_size,
                topic_alias_maximum: self.topic_alias_maximum,
                request_response_information: self.request_response_information,
                request_problem_information: self.request_problem_information,
                user_properties: lend_user_properties(&self.user_properties),
                authentication_method: self.authentication_method.as_deref(),
                authentication_data: self.authentication_data.as_deref(),
            }
        } else {
            ConnectProperties::default()
        };
        Connect {
            version: self.version,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            properties,
            client_id: &self.client_id,
            will: self.will.as_ref().map(|will| will.to_packet(self.version)),
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
        }
    }
}
