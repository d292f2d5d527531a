//! RabbitMQ with its plugins for MQTT and for MQTT over WebSocket. Debian's speaks 3.1 and 3.1.1,
//! and answers QoS 2 as if it were QoS 1.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use noctule_client::{Client, QoS, Version};

use crate::conversation::{FAR, RUNS, Reach, refused, speak};
use crate::program::{Folder, Running, find, free_address};

/// It takes ten seconds of processor time to start.
const START_LIMIT: Duration = Duration::from_secs(180);
/// The script without the wrapper that wants to be root or the service's user.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A server that runs until it is dropped.
struct RabbitMq {
    mqtt: SocketAddr,
    websocket: SocketAddr,
    _running: Running,
    _names: Running,
    _folder: Folder,
}

impl RabbitMq {
    fn start() -> Option<Self> {
        let wrapper = find("rabbitmq-server")?;
        let script = if Path::new(SCRIPT).is_file() { SCRIPT.into() } else { wrapper };
        let (folder, mqtt, websocket) = (Folder::new(), free_address(), free_address());
        folder.write("plugins", "[rabbitmq_mqtt,rabbitmq_web_mqtt].\n");
        let config = format!(
            "listeners.tcp = none\nmqtt.listeners.tcp.1 = {mqtt}\n\
             web_mqtt.tcp.ip = 127.0.0.1\nweb_mqtt.tcp.port = {}\n",
            websocket.port()
        );
        folder.write("rabbitmq.conf", &config);
        // Who knows the names of Erlang's nodes; otherwise the first node starts it for ever.
        let (names, names_address) = (find("epmd")?, free_address());
        let names_port = names_address.port().to_string();
        let mut command = Command::new(names);
        command.args(["-address", "127.0.0.1", "-port", &names_port]).current_dir(folder.path());
        let names = Running::start(&mut command, &[names_address], START_LIMIT);
        let mut command = Command::new(script);
        command
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("ERL_EPMD_PORT", &names_port)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", free_address().port().to_string())
            .env("RABBITMQ_NODENAME", format!("interop{}@localhost", mqtt.port()))
            .env("RABBITMQ_LOGS", "-");
        for (name, file) in [
            ("RABBITMQ_CONF_ENV_FILE", "none"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "none"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
        ] {
            command.env(name, folder.path().join(file));
        }
        let running = Running::start(&mut command, &[mqtt, websocket], START_LIMIT);
        Some(Self { mqtt, websocket, _running: running, _names: names, _folder: folder })
    }
}

#[tokio::test]
async fn rabbitmq_speaks_over_tcp_and_websocket() {
    let Some(server) = RabbitMq::start() else { return };
    let reach = Reach { qos_max: QoS::AtLeastOnce, ..FAR };
    let urls = [format!("mqtt://{}", server.mqtt), format!("ws://{}/ws", server.websocket)];
    for url in &urls {
        let client = || Client::builder(url.as_str()).credentials("guest", "guest");
        for version in [Version::V3_1, Version::V3_1_1] {
            for run in RUNS {
                speak(run, client().version(version), reach).await;
            }
        }
        let stranger =
            || Client::builder(url.as_str()).version(Version::V3_1_1).credentials("guest", "no");
        for error in refused(stranger).await {
            // Over WebSocket it sends no CONNACK but closes with code 1002.
            let is_refused = error.contains("bad user name or password");
            assert!(is_refused || url.starts_with("ws:"), "{url}: {error}");
        }
    }
    let elsewhere = || Client::builder(format!("ws://{}/mqtt", server.websocket));
    for error in refused(elsewhere).await {
        assert!(error.contains("404") && error.contains("check the path"), "{error}");
    }
}
