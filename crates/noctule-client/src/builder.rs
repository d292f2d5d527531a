//! Everything that is decided about a client before it starts, checked when it does.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use noctule_client_core::{
    AliasPolicy, Authenticator, CleanStart, Hub, QueueSettings, ReconnectPlan, ReconnectSettings,
    Settings, SettingsError, WillOptions,
};
use noctule_packet::{TopicName, Version};
#[cfg(feature = "tls")]
use noctule_transport::TlsClient;
#[cfg(feature = "thread")]
use noctule_transport::{BoxError, blocking};
#[cfg(feature = "tokio")]
use noctule_transport::{ConnectFuture, Connector};
use noctule_transport::{DialerBuilder, Proxy, SocketOptions, Url, WebSocketOptions};
#[cfg(feature = "tokio")]
use tokio::runtime::Handle;

use crate::aliases::AliasResolver;
use crate::client::Client;
use crate::course::Course;
use crate::credentials::{Credentials, CredentialsProvider};
use crate::error::ClientBuildError;
#[cfg(any(feature = "tokio", feature = "thread"))]
use crate::error::ConnectError;
use crate::extensions::Extensions;
use crate::guarded::Guarded;
#[cfg(any(feature = "tokio", feature = "thread"))]
use crate::mode::Async;
#[cfg(feature = "thread")]
use crate::mode::Blocking;
use crate::mode::Mode;
use crate::reconnector::Reconnector;
use crate::release_remarks::ReleaseRemarks;
use crate::shared::{Shared, UserSide};

/// Settings of a client. What contradicts itself is told when it starts, with the names of the
/// options.
#[must_use = "nothing happens before `connect` or `start`"]
pub struct ClientBuilder<D> {
    urls: Vec<String>,
    settings: Settings,
    replies_below: Option<Box<str>>,
    reconnect: ReconnectSettings,
    change_transport: Vec<Change>,
    reconnector: Option<Box<dyn Reconnector>>,
    provider: Option<Arc<dyn CredentialsProvider>>,
    credentials_timeout: Option<Duration>,
    #[cfg(feature = "store")]
    pub(crate) store: Option<crate::store::Chosen>,
    authenticator: Option<Box<dyn Authenticator>>,
    aliases: AliasPolicy,
    pub(crate) extensions: Extensions,
    mode: Mode<D>,
}

/// The seconds of a time, with the last one that has begun: what is short is not nothing.
pub(crate) const fn seconds(time: Duration) -> u64 {
    let begun = if time.subsec_nanos() > 0 { 1 } else { 0 };
    time.as_secs().saturating_add(begun)
}

type Change = Box<dyn Fn(DialerBuilder) -> DialerBuilder + Send>;

impl<D> fmt::Debug for ClientBuilder<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may hold passwords.
        formatter
            .debug_struct("ClientBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<D> ClientBuilder<D> {
    pub(crate) fn new(url: String) -> Self {
        Self {
            urls: vec![url],
            settings: Settings::default(),
            replies_below: None,
            reconnect: ReconnectSettings::default(),
            change_transport: Vec::new(),
            reconnector: None,
            provider: None,
            credentials_timeout: None,
            #[cfg(feature = "store")]
            store: None,
            authenticator: None,
            aliases: AliasPolicy::default(),
            extensions: Extensions::default(),
            mode: Mode::default(),
        }
    }

    /// Another endpoint, to be tried when those before it cannot be reached. User name and password
    /// in its URL are for this endpoint alone.
    pub fn or(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// The client identifier; without one the server chooses.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.settings.connect.client_id = client_id.into();
        self
    }

    /// User name and password for every endpoint, in place of what their URLs say.
    pub fn credentials(
        mut self,
        user_name: impl Into<String>,
        password: impl Into<Vec<u8>>,
    ) -> Self {
        self.settings.connect.user_name = Some(user_name.into());
        self.settings.connect.password = Some(password.into());
        self
    }

    /// Asks for the credentials at each attempt to connect, which has failed if there are none
    /// within [`credentials_timeout`](Self::credentials_timeout). A client with a thread of its own
    /// asks on another one, where the provider may block.
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider + 'static) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    /// The time that the [provider](Self::credentials_provider) has for its credentials; that of
    /// [`connect_timeout`](Self::connect_timeout) by default.
    pub const fn credentials_timeout(mut self, timeout: Duration) -> Self {
        self.credentials_timeout = Some(timeout);
        self
    }

    /// Uses a method of enhanced authentication, such as `Scram`; 5.0 only. It may use the client,
    /// and take its time: on tokio it is asked on a thread for that. Elsewhere it cannot wait for
    /// the client ([`OnOwnThread`](crate::OnOwnThread)). If it panics, the authentication has
    /// failed.
    pub fn authentication(mut self, method: impl Authenticator + 'static) -> Self {
        self.authenticator = Some(Box::new(Guarded(method)));
        self
    }

    /// Authenticates again by that method so long after each authentication, on the same
    /// connection; never by default.
    pub fn reauthenticate_every(mut self, interval: Duration) -> Self {
        self.settings.reauthenticate_every = Some(interval);
        self
    }

    /// Chooses the topic aliases of what is sent; none by default. 5.0 only, and as many as the
    /// server takes.
    pub fn aliases(mut self, policy: AliasPolicy) -> Self {
        self.aliases = policy;
        self
    }

    /// Has the program choose a topic alias for each message, where it knows best which topics come
    /// again; 5.0 only. In place of [`aliases`](Self::aliases). It may use the client.
    pub fn alias_resolver(mut self, resolver: impl AliasResolver + 'static) -> Self {
        self.aliases = AliasPolicy::Suggested;
        self.extensions.alias_resolver = Some(Arc::new(resolver));
        self
    }

    /// Has the program say something in PUBREL and PUBCOMP, a reason in words or user properties,
    /// where the client would say nothing; 5.0 only. It is asked before each of them leaves. What
    /// the server says in them comes with the outcome ([`Outcome`](crate::Outcome)) and with
    /// [`ClientEvent::Released`](crate::ClientEvent::Released).
    ///
    /// ```
    /// use noctule_client::{Client, PacketType, ReleaseStep, Remarks};
    ///
    /// let say = |step: ReleaseStep| match step.packet_type() {
    ///     PacketType::Pubcomp => Some(Remarks::new("stored on two disks")),
    ///     _ => None,
    /// };
    /// let builder = Client::builder("mqtt://localhost").release_remarks(say);
    /// # drop(builder);
    /// ```
    pub fn release_remarks(mut self, hook: impl ReleaseRemarks + 'static) -> Self {
        self.extensions.release_remarks = Some(Arc::new(hook));
        self
    }

    /// The version to speak; 5.0 by default.
    pub const fn version(mut self, version: Version) -> Self {
        (self.settings.version, self.settings.lowest_version) = (version, version);
        self
    }

    /// How far to go back, one version at a time, if the server does not speak the version. What
    /// the older one lacks must not be asked for.
    pub const fn lowest_version(mut self, version: Version) -> Self {
        self.settings.lowest_version = version;
        self
    }

    /// How long a connection may be silent before a ping, 60 s by default; zero never pings. Parts
    /// of a second count as one, and 65,535 s is the most.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.settings.connect.keep_alive = u16::try_from(seconds(interval)).unwrap_or(u16::MAX);
        self
    }

    /// How long to wait for the answer to a ping; 20 s by default.
    pub const fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ping_timeout = Some(timeout);
        self
    }

    /// How long the server keeps the session without a connection; not at all by default. Before
    /// 5.0 there is only that and for ever.
    pub fn session_expiry(mut self, lifetime: Duration) -> Self {
        let seconds = u32::try_from(seconds(lifetime)).unwrap_or(u32::MAX);
        self.settings.connect.session_expiry_interval = seconds;
        self
    }

    /// When an older session is thrown away; on the first connection by default.
    pub const fn clean_start(mut self, clean_start: CleanStart) -> Self {
        self.settings.connect.clean_start = clean_start;
        self
    }

    /// What the server publishes if the connection ends badly.
    pub fn will(mut self, will: WillOptions) -> Self {
        self.settings.connect.will = Some(will);
        self
    }

    /// The bounds and the policy of the offline queue.
    pub const fn queue(mut self, queue: QueueSettings) -> Self {
        self.settings.queue = queue;
        self
    }

    /// Keeps the session in a directory, so that another process goes on with it: messages that
    /// wait and that are under way, subscriptions, and what was received and must not come twice.
    /// It is read when the client starts: `connect` does that on a thread of its own, and `start`
    /// on the caller's.
    ///
    /// A session that outlives its connection at the server needs a client identifier and a
    /// [session expiry](Self::session_expiry).
    #[cfg(feature = "store")]
    pub fn store(mut self, store: impl Into<crate::store::StoreSettings>) -> Self {
        self.store = Some(crate::store::Chosen::from(store.into()));
        self
    }

    /// The topic below which answers to requests come: with `replies_below("answers")` those for
    /// the client `c` come to topics of `answers/c/+`. By default it is what the server says in
    /// CONNACK, or `reply`.
    pub fn replies_below(mut self, topic: impl Into<Box<str>>) -> Self {
        self.replies_below = Some(topic.into());
        self
    }

    /// Reads payloads of a content type, for [`Incoming::content`](crate::Incoming::content): XML,
    /// CBOR, or whatever the program speaks. It comes before what the client can read by itself; an
    /// empty content type stands for messages that do not name theirs.
    ///
    /// ```
    /// use noctule_client::Client;
    /// use serde_json::Value;
    ///
    /// let builder = Client::builder("mqtt://localhost").decoder("text/csv", |payload: &[u8]| {
    ///     let line = std::str::from_utf8(payload)?;
    ///     Ok(line.split(',').map(Value::from).collect())
    /// });
    /// # drop(builder);
    /// ```
    #[cfg(feature = "json")]
    pub fn decoder(
        mut self,
        content_type: &str,
        decoder: impl crate::content::Decoder + 'static,
    ) -> Self {
        let decoders = self.extensions.decoders.get_or_insert_default();
        Arc::make_mut(decoders).insert(content_type, Arc::new(decoder));
        self
    }

    /// When and where to connect again.
    pub fn reconnect(mut self, settings: ReconnectSettings) -> Self {
        self.reconnect = settings;
        self
    }

    /// Has the program decide what comes after each connection that has ended, and after each
    /// attempt that has come to none. What it does not decide is as [`reconnect`](Self::reconnect)
    /// says.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use noctule_client::{Client, ConnectionEnd, NextAttempt, Origin};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let other = "mqtt://elsewhere.example".parse()?;
    /// let decide = move |end: &ConnectionEnd, failures: u32| match end.origin() {
    ///     // Whoever throws us out has a reason.
    ///     Origin::Server => NextAttempt::Stop,
    ///     _ if failures < 5 => NextAttempt::AsPlanned,
    ///     _ => NextAttempt::At { url: Clone::clone(&other), after: Duration::from_secs(1) },
    /// };
    /// let client = Client::builder("mqtt://broker.example").reconnector(decide).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnector(mut self, reconnector: impl Reconnector + 'static) -> Self {
        self.reconnector = Some(Box::new(reconnector));
        self
    }

    /// Changes any other setting of the session.
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// TLS with the server: roots, client certificate, pins. Without it, `mqtts://` and `wss://`
    /// trust the system's roots.
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: TlsClient) -> Self {
        self.transport(move |transport| transport.tls(tls.clone()))
    }

    /// Options of `ws://` and `wss://`.
    pub fn websocket(self, options: WebSocketOptions) -> Self {
        self.transport(move |transport| transport.websocket(options.clone()))
    }

    /// Goes through a proxy.
    pub fn proxy(self, proxy: Proxy) -> Self {
        self.transport(move |transport| transport.proxy(proxy.clone()))
    }

    /// Options of the TCP socket.
    pub fn socket(self, options: SocketOptions) -> Self {
        self.transport(move |transport| transport.socket(options.clone()))
    }

    /// The program's own way to the server, for clients that run on tokio.
    #[cfg(feature = "tokio")]
    pub fn connector(self, connector: impl Connector + 'static) -> Self {
        let connector = OwnWay(Arc::new(connector));
        self.transport(move |transport| transport.connector(connector.clone()))
    }

    /// The program's own way to the server, for clients that have a thread of their own: those that
    /// block, and those of `start_thread`. That thread waits for it, until the attempt's deadline
    /// at most if the connector keeps to it.
    #[cfg(feature = "thread")]
    pub fn blocking_connector(self, connector: impl blocking::Connector + 'static) -> Self {
        let connector = OwnBlockingWay(Arc::new(connector));
        self.transport(move |transport| transport.blocking_connector(connector.clone()))
    }

    /// The time for a connection, from the first look-up of an address to CONNACK; 30 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = Some(timeout);
        self.transport(move |transport| transport.connect_timeout(timeout))
    }

    /// Changes any other setting of the transport.
    pub fn transport(
        mut self,
        change: impl Fn(DialerBuilder) -> DialerBuilder + Send + 'static,
    ) -> Self {
        self.change_transport.push(Box::new(change));
        self
    }

    pub(crate) fn build(
        self,
        check: impl Fn(&DialerBuilder) -> Result<(), noctule_transport::BuildError>,
    ) -> Result<(Client<D>, Course), ClientBuildError> {
        if let Some(will) = &self.settings.connect.will {
            TopicName::new(&will.topic).map_err(|source| ClientBuildError::WillTopic {
                topic: will.topic.to_string(),
                source,
            })?;
        }
        let urls = self.urls.iter().map(|url| url.parse()).collect::<Result<Vec<Url>, _>>()?;
        if urls.is_empty() {
            return Err(ClientBuildError::NoUrl);
        }
        let url_credentials = url_credentials(&urls, &self.settings)?;
        let endpoints: Vec<DialerBuilder> = urls
            .into_iter()
            .map(|url| {
                let plain = DialerBuilder::new(url);
                self.change_transport.iter().fold(plain, |transport, change| change(transport))
            })
            .collect();
        endpoints.iter().try_for_each(check)?;
        let options = self.settings.connect.clone();
        let connect_timeout = self.settings.connect_timeout;
        #[cfg(not(feature = "store"))]
        let shared = Arc::new(Shared::new(Hub::new(self.settings)?));
        #[cfg(feature = "store")]
        let shared = match self.store {
            None => Arc::new(Shared::new(Hub::new(self.settings)?)),
            Some(store) => crate::store::share(store, self.settings)?,
        };
        shared.extend(self.extensions);
        let (aliases, authenticator) = (self.aliases, self.authenticator);
        shared.with(|inner| {
            inner.replies_below = self.replies_below;
            let session = inner.hub.session_mut();
            session.set_alias_policy(aliases);
            session.set_authenticator(authenticator)
        })?;
        let seed = RandomState::new().hash_one(0);
        let plan = ReconnectPlan::new(self.reconnect, endpoints.len(), seed);
        let mut course = Course::new(Arc::clone(&shared), endpoints, plan, options, self.provider);
        course.url_credentials = url_credentials;
        course.reconnector = self.reconnector.map(Mutex::new);
        course.connect_timeout = connect_timeout;
        course.credentials_timeout = self.credentials_timeout.or(connect_timeout);
        Ok((Client::new(Arc::new(UserSide { shared })), course))
    }
}

/// The credentials of each URL, which are for its server alone; none at all if there are some for
/// all servers.
fn url_credentials(urls: &[Url], settings: &Settings) -> Result<Vec<Credentials>, SettingsError> {
    let connect = &settings.connect;
    if connect.user_name.is_some() || connect.password.is_some() {
        return Ok(Vec::new());
    }
    let mut with_them = settings.clone();
    let mut list = Vec::new();
    for url in urls {
        let credentials = Credentials::of(url);
        credentials.clone().put_into(&mut with_them.connect);
        with_them.check()?;
        list.push(credentials);
    }
    Ok(list)
}

#[cfg(feature = "tokio")]
impl ClientBuilder<Async> {
    /// The tokio runtime for the client's task and for the handlers of its routes; by default the
    /// one in which it starts. With this it can be started, used and awaited outside of any.
    ///
    /// ```no_run
    /// use noctule_client::Client;
    ///
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// let client =
    ///     Client::builder("mqtt://localhost").runtime(runtime.handle().clone()).start()?;
    /// let receipt = client.publish("hello", "world").send()?;
    /// println!("{}", runtime.block_on(receipt));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.extensions.runtime = Some(runtime);
        self
    }

    /// Starts the client, which has a task of its own, and waits for the first connection.
    ///
    /// # Errors
    ///
    /// If options contradict each other, or if there will be no connection, as
    /// [`ClientBuilder::reconnect`] says: by default it goes on trying unless the server refuses
    /// for a reason that does not pass.
    pub async fn connect(self) -> Result<Client<Async>, ConnectError> {
        #[cfg(feature = "store")]
        let this = self.open_store().await?;
        #[cfg(not(feature = "store"))]
        let this = self;
        let client = this.start()?;
        client.connected().await?;
        Ok(client)
    }

    /// Starts the client, whose task connects in the background.
    ///
    /// # Errors
    ///
    /// If options contradict each other, or if there is no tokio runtime.
    pub fn start(mut self) -> Result<Client<Async>, ClientBuildError> {
        let runtime = self.extensions.runtime.take().map_or_else(Handle::try_current, Ok);
        let runtime = runtime.map_err(|_| ClientBuildError::NoRuntime)?;
        self.extensions.runtime = Some(runtime.clone());
        let (client, course) = self.build(|dialer| dialer.build().map(drop))?;
        runtime.spawn(crate::task::run(course, crate::task::Tokio));
        Ok(client)
    }
}

#[cfg(feature = "thread")]
impl ClientBuilder<Async> {
    /// Starts the client, whose own thread connects in the background: it can be awaited on any
    /// runtime.
    ///
    /// # Errors
    ///
    /// If options contradict each other, or if the system gives no thread.
    pub fn start_thread(self) -> Result<Client<Async>, ClientBuildError> {
        let (client, course) = self.build(|dialer| dialer.build_blocking().map(drop))?;
        crate::thread::start(course).map_err(ClientBuildError::Thread)?;
        Ok(client)
    }
}

#[cfg(feature = "thread")]
impl ClientBuilder<Blocking> {
    /// Starts the client, which has a thread of its own, and waits for the first connection.
    ///
    /// # Errors
    ///
    /// If options contradict each other, or if there will be no connection, as
    /// [`ClientBuilder::reconnect`] says: by default it goes on trying unless the server refuses
    /// for a reason that does not pass.
    pub fn connect(self) -> Result<Client<Blocking>, ConnectError> {
        let client = self.start()?;
        client.connected()?;
        Ok(client)
    }

    /// Starts the client, whose thread connects in the background.
    ///
    /// # Errors
    ///
    /// If options contradict each other, or if the system gives no thread.
    pub fn start(self) -> Result<Client<Blocking>, ClientBuildError> {
        let (client, course) = self.build(|dialer| dialer.build_blocking().map(drop))?;
        crate::thread::start(course).map_err(ClientBuildError::Thread)?;
        Ok(client)
    }
}

/// The program's own way to the server, for all endpoints.
#[cfg(feature = "tokio")]
#[derive(Clone)]
struct OwnWay(Arc<dyn Connector>);

#[cfg(feature = "tokio")]
impl Connector for OwnWay {
    fn connect(&self) -> ConnectFuture<'_> {
        self.0.connect()
    }
}

/// The same for a thread that may block.
#[cfg(feature = "thread")]
#[derive(Clone)]
struct OwnBlockingWay(Arc<dyn blocking::Connector>);

#[cfg(feature = "thread")]
impl blocking::Connector for OwnBlockingWay {
    fn connect(
        &self,
        attempt: &mut blocking::Attempt<'_>,
    ) -> Result<blocking::BoxedTransport, BoxError> {
        self.0.connect(attempt)
    }
}
