//! The flags about the connection, the same for every client.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgAction, Args};
use noctule_client::transport::Proxy;
use noctule_client::{CleanStart, Client, ClientBuilder, ReconnectSettings, Version};

use super::failure::{self, Failure};
use super::property::Properties;
use super::server::{self, Server};
use super::tls_flags::TlsFlags;
use super::value;
use super::will_flags::WillFlags;

/// The longest client identifier that every 3.1 server takes.
const SHORT_ID: usize = 23;

/// How many connections may end with a message in flight before it is given up: it may be the
/// reason, which a server before 5.0 cannot say. A bad link breaks less often for one message.
const INTERRUPTIONS_MAX: u16 = 10;

/// The flags about the connection.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectFlags {
    /// The server's name or address [default: localhost]
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,
    /// The server's port [default: 1883, with TLS 8883, with WebSocket 80 or 443]
    #[arg(
        short = 'p',
        long,
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    port: Option<u16>,
    /// Use SRV lookups to determine which host to connect to: -h names the domain
    #[arg(
        short = 'S',
        requires = "host",
        conflicts_with_all = ["port", "unix", "ws", "url", "proxy"]
    )]
    srv: bool,
    /// The name server that is asked for SRV records instead of the system's, for tests
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    srv_server: Option<SocketAddr>,
    /// Server and topic as mqtt://USER:PASSWORD@HOST:PORT/TOPIC, of which only HOST must be there;
    /// mqtts:// has TLS; ws:// and wss:// have WebSocket, whose path is in the place of the topic;
    /// mqtt+srv:// and mqtts+srv:// find the server of a domain, as -S does
    #[arg(
        short = 'L',
        long,
        value_name = "URL",
        conflicts_with_all = ["host", "port", "unix", "ws"]
    )]
    url: Option<String>,
    /// A Unix socket instead of TCP
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with_all = ["host", "port", "ws", "proxy", "bind_address"]
    )]
    unix: Option<PathBuf>,
    /// Speak WebSocket, with this path
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/mqtt"
    )]
    ws: Option<String>,
    /// Go through a proxy, such as socks5h://USER:PASSWORD@HOST:PORT; socks5, http and https are
    /// the others
    #[arg(long, value_name = "URL")]
    proxy: Option<Proxy>,
    /// The local address to connect from
    #[arg(short = 'A', value_name = "ADDRESS")]
    bind_address: Option<IpAddr>,
    /// The user name
    #[arg(short = 'u', long, value_name = "NAME")]
    username: Option<String>,
    /// The password. Other users of this machine may see it
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<OsString>,
    /// The client identifier; without it the server chooses one
    #[arg(short = 'i', long, value_name = "ID")]
    id: Option<String>,
    /// The same with the number of this process behind it
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    id_prefix: Option<String>,
    /// The version of MQTT: 5, 3.1.1, 3.1, mqttv5, mqttv311 or mqttv31 [default: 5, or 3.1.1 with a
    /// server that has nothing newer]
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = value::version)]
    protocol_version: Option<Version>,
    /// The seconds between two signs of life; 0 for none
    #[arg(short = 'k', long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
    /// Go on with the session that the server has for this client identifier, and let it keep it
    #[arg(short = 'c', long)]
    disable_clean_session: bool,
    /// How many seconds the server keeps the session, or -1 for ever [default: 0, with -c for ever]
    #[arg(
        short = 'x',
        value_name = "SECONDS",
        value_parser = value::session_expiry,
        allow_hyphen_values = true
    )]
    session_expiry: Option<u32>,
    /// A property of CONNECT, PUBLISH, the will, SUBSCRIBE, UNSUBSCRIBE, AUTH or DISCONNECT, such
    /// as: connect receive-maximum 10, publish content-type text/plain, will user-property NAME
    /// VALUE
    #[arg(
        short = 'D',
        long = "property",
        value_names = ["COMMAND", "PROPERTY", "VALUE"],
        num_args = 3..=4,
        action = ArgAction::Append
    )]
    property: Vec<String>,
    /// How many messages of QoS 1 and 2 may be under way at once [default: 1024]
    #[arg(short = 'M', value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    max_inflight: Option<u16>,
    // Small packets leave at once in any case.
    #[arg(long, hide = true)]
    nodelay: bool,
    /// Tell on standard error what happens to the connection
    #[arg(short = 'd', long)]
    pub(crate) debug: bool,
    /// Write no messages about errors; the exit status still tells
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    will: WillFlags,
}

impl ConnectFlags {
    /// The server, and the topic that the URL names.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        if let Some(url) = &self.url {
            return server::of_url(url, self.tls.is_wanted());
        }
        if let Some(path) = &self.unix {
            return match self.tls.is_wanted() {
                true => Err(Failure::usage("--unix has no TLS: leave its flags out")),
                false => server::of_unix(path),
            };
        }
        let is_tls = self.tls.is_wanted() || self.port == Some(8883);
        let host = self.host.as_deref().unwrap_or("localhost");
        if self.srv {
            return server::of_domain(host, is_tls);
        }
        server::of_host(host, self.port, is_tls, self.ws.as_deref())
    }

    /// What `-D` says.
    pub(crate) fn properties(&self) -> Result<Properties, Failure> {
        Properties::read(&self.property)
    }

    /// A client with everything that the flags say. `given` are the properties of
    /// [`ConnectFlags::properties`].
    pub(crate) fn builder(
        &self,
        server: &Server,
        given: &Properties,
        needs_v5: Option<&str>,
    ) -> Result<ClientBuilder, Failure> {
        let (version, lowest) = self.versions(given, needs_v5)?;
        let id = self.client_id(lowest)?;
        let expiry = self.session_expiry.or(given.connect.session_expiry_interval);
        let expiry = expiry.unwrap_or(if self.disable_clean_session { u32::MAX } else { 0 });
        let clean_start =
            if self.disable_clean_session { CleanStart::Never } else { CleanStart::First };
        let will = self.will.options(&given.will)?;
        let reconnect = ReconnectSettings {
            includes_first: false,
            policy: failure::policy(),
            ..ReconnectSettings::default()
        };
        let mut builder = Client::builder(server.url.as_str())
            .version(version)
            .lowest_version(lowest)
            .client_id(id)
            .clean_start(clean_start)
            .reconnect(reconnect)
            .settings(|settings| {
                let connect = &mut settings.connect;
                connect.keep_alive = self.keepalive;
                connect.session_expiry_interval = expiry;
                connect.will = will;
                let user = self.username.as_ref().or(server.user.as_ref());
                connect.user_name = user.cloned();
                let password = self.password.clone().map(value::bytes);
                connect.password = password.or_else(|| server.password.clone());
                let given = &given.connect;
                connect.receive_maximum = given.receive_maximum.unwrap_or(connect.receive_maximum);
                let maximum = given.maximum_packet_size;
                connect.maximum_packet_size = maximum.unwrap_or(connect.maximum_packet_size);
                let maximum = given.topic_alias_maximum;
                connect.topic_alias_maximum = maximum.unwrap_or(connect.topic_alias_maximum);
                connect.request_problem_information =
                    given.request_problem_information.unwrap_or(true);
                connect.request_response_information =
                    given.request_response_information.unwrap_or(false);
                connect.user_properties = given.user_properties.clone();
                let redelivery = &mut settings.redelivery;
                (redelivery.is_slow, redelivery.interruptions_max) =
                    (true, Some(INTERRUPTIONS_MAX));
                let in_flight = &mut settings.limits.in_flight_max;
                *in_flight = self.max_inflight.unwrap_or(*in_flight);
            });
        if let Some(method) = given.connect.authentication.method() {
            builder = builder.authentication(method);
        }
        self.with_transport(builder, server)
    }

    /// The same with what the flags say about the way to the server.
    fn with_transport(
        &self,
        mut builder: ClientBuilder,
        server: &Server,
    ) -> Result<ClientBuilder, Failure> {
        if server.is_tls {
            builder = builder.tls(self.tls.client()?);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        if let Some(server) = self.srv_server {
            builder = builder.transport(move |transport| transport.name_servers([server]));
        }
        if let Some(address) = self.bind_address {
            builder = builder.transport(move |transport| {
                transport.socket(
                    noctule_client::transport::SocketOptions::default().bind_address(address),
                )
            });
        }
        Ok(builder)
    }

    /// What to speak, and what to go back to.
    fn versions(
        &self,
        given: &Properties,
        needs_v5: Option<&str>,
    ) -> Result<(Version, Version), Failure> {
        let needs_v5 = needs_v5
            .or((!given.is_empty()).then_some("-D"))
            .or(self.session_expiry.is_some().then_some("-x"));
        match (self.protocol_version, needs_v5) {
            (None | Some(Version::V5_0), Some(_)) => Ok((Version::V5_0, Version::V5_0)),
            (None, None) => Ok((Version::V5_0, Version::V3_1_1)),
            (Some(version), Some(flag)) => Err(Failure::usage(format!(
                "MQTT {version} has no {flag}: give -V 5, or leave it out"
            ))),
            (Some(version), None) => Ok((version, version)),
        }
    }

    fn client_id(&self, lowest: Version) -> Result<String, Failure> {
        let process = std::process::id();
        match (&self.id, &self.id_prefix) {
            (Some(id), _) => Ok(id.clone()),
            (None, Some(prefix)) => Ok(format!("{prefix}{process}")),
            (None, None) if self.disable_clean_session => {
                Err(Failure::usage("-c needs a client identifier to go on with: give one with -i"))
            }
            (None, None) if lowest == Version::V3_1 => {
                // 3.1 has nobody else to choose one. It must be no other client's.
                let mut id = format!("noctule-{:016x}", RandomState::new().hash_one(process));
                id.truncate(SHORT_ID);
                Ok(id)
            }
            (None, None) => Ok(String::new()),
        }
    }
}
