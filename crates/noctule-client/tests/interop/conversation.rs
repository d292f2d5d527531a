//! What a client says to any server, run by a task and by a thread.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use noctule_client::{Client, ClientBuilder, ConnectError, QoS, ReconnectSettings, Version};
use tokio::time::timeout;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(20);

/// How far a server goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(crate) qos_max: QoS,
    pub(crate) payload: usize,
}

/// All QoS, and more than one record or read takes.
pub(crate) const FAR: Reach = Reach { qos_max: QoS::ExactlyOnce, payload: 300_000 };
/// As far as is reasonable with Mosquitto's WebSocket, which takes 4 KiB in a tenth of a second.
pub(crate) const SLOW: Reach = Reach { payload: 9_000, ..FAR };

/// Who runs a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    Task,
    Thread,
}

pub(crate) const RUNS: [Run; 2] = [Run::Task, Run::Thread];

impl Run {
    async fn connect(self, builder: ClientBuilder) -> Result<Client, ConnectError> {
        // What is wrong shows at the first attempt.
        let settings = ReconnectSettings { includes_first: false, ..ReconnectSettings::default() };
        let builder = builder.client_id(client_id()).reconnect(settings);
        let client = match self {
            Self::Task => builder.start()?,
            Self::Thread => builder.start_thread()?,
        };
        soon(client.connected()).await.map(|_| client)
    }
}

/// MQTT 3.1 wants one, of at most 23 characters.
fn client_id() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("interop-{}", NUMBER.fetch_add(1, Relaxed))
}

async fn soon<T>(awaited: impl IntoFuture<Output = T>) -> T {
    timeout(LONG, awaited.into_future()).await.expect("it takes too long")
}

/// Connects in every version, sends messages to itself and leaves.
pub(crate) async fn converse(reach: Reach, builder: impl Fn() -> ClientBuilder) {
    for run in RUNS {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5_0] {
            speak(run, builder().version(version), reach).await;
        }
    }
}

/// Connects, sends messages to itself and leaves.
pub(crate) async fn speak(run: Run, builder: ClientBuilder, reach: Reach) {
    let client = run.connect(builder).await.unwrap_or_else(|error| panic!("{run:?}: {error}"));
    let mut inbox = soon(client.subscribe("interop/+").qos(reach.qos_max)).await.unwrap();
    let large: Vec<u8> = (0..reach.payload).map(|index| (index % 251).to_le_bytes()[0]).collect();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        if qos > reach.qos_max {
            continue;
        }
        for payload in [&b"small"[..], &large] {
            let receipt = client.publish("interop/a", payload).qos(qos).send().unwrap();
            assert!(soon(receipt).await.is_delivered(), "{run:?} {qos:?}");
            let message = soon(inbox.recv()).await.unwrap();
            assert_eq!((&**message.topic(), message.qos()), ("interop/a", qos));
            assert!(message.payload() == payload, "{run:?} {qos:?}: another payload");
        }
    }
    soon(inbox.unsubscribe()).await.unwrap();
    assert!(soon(client.shutdown(LONG)).await.is_clean());
}

/// Why there is no connection, for each way to run a client.
pub(crate) async fn refused(builder: impl Fn() -> ClientBuilder) -> Vec<String> {
    let mut texts = Vec::new();
    for run in RUNS {
        match run.connect(builder()).await {
            Ok(_) => panic!("{run:?}: it has connected"),
            Err(error) => texts.push(error.to_string()),
        }
    }
    texts
}
