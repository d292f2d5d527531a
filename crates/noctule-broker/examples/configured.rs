//! A broker with its own limits and features, two listeners, and a look at what it does.

use std::error::Error;
use std::time::Duration;

use noctule_broker::{
    Broker, Features, Limits, Listener, Publication, QoS, SharedStrategy, Version,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut limits = Limits::default();
    limits.connections_max = 500;
    limits.maximum_packet_size = 256 * 1024;
    limits.queue_messages_max = 1_000;

    let mut features = Features::default();
    features.maximum_qos = QoS::AtLeastOnce;

    let socket = std::env::temp_dir().join(format!("noctule-{}.sock", std::process::id()));
    let broker = Broker::builder()
        .listen(Listener::new("127.0.0.1:0").versions([Version::V3_1_1, Version::V5_0]))
        .listen(format!("unix:{}", socket.display()))
        .limits(limits)
        .features(features)
        .shared_strategy(SharedStrategy::RoundRobin)
        .system_interval_seconds(60)
        .start()?;
    for address in broker.local_addrs() {
        println!("listening on {address}");
    }
    println!(
        "descriptors: {:?}, connections: {}",
        broker.descriptor_limit(),
        broker.connections_max()
    );

    let status = Publication::new("plant/status", "running").qos(QoS::AtLeastOnce).retain(true);
    broker.publish_blocking(status)?;
    let refused = Publication::new("plant/status", "running").qos(QoS::ExactlyOnce);
    println!("QoS 2: {}", broker.publish_blocking(refused).expect_err("QoS 2 was switched off"));

    broker.stop_blocking(Duration::from_secs(1))?;
    assert!(!socket.exists(), "the broker removes its socket");
    Ok(())
}
