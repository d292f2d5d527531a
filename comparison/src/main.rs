//! One client as publisher or subscriber, and the processor time that each message costs its
//! process. `./run` starts the broker and all clients one after the other.

mod noctule;
mod rumqtt;

use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What is published: a measured value.
const PAYLOAD: [u8; 16] = [b'x'; 16];
/// How many messages of QoS 1 and 2 may be in flight, with every client.
const IN_FLIGHT: u16 = 1_000;

/// What one process is to do.
struct Task {
    port: u16,
    topic: String,
    qos: u8,
    messages: u64,
}

/// Processor time and time since a moment.
struct Meter {
    processor: f64,
    started: Instant,
}

impl Meter {
    fn start() -> Self {
        Self { processor: processor_micros(), started: Instant::now() }
    }

    fn report(&self, role: &str, messages: u64) {
        let each = (processor_micros() - self.processor) / messages as f64;
        let rate = messages as f64 / self.started.elapsed().as_secs_f64();
        println!("{role} {each:.3} us, {rate:.0}/s");
    }
}

/// What this process has used, in its own code and in the system's.
fn processor_micros() -> f64 {
    // SAFETY: `rusage` is plain numbers, for which zero is a value, and the call fills it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [client, role, port, qos, messages] = &*words else {
        bail!("usage: comparison noctule|thread|rumqttc pub|sub PORT QOS MESSAGES");
    };
    let task = Task {
        port: port.parse().context("PORT")?,
        topic: format!("comparison/{client}"),
        qos: qos.parse().context("QOS")?,
        messages: messages.parse().context("MESSAGES")?,
    };
    match (&**client, &**role) {
        ("noctule", "pub") => noctule::publish(&task, noctule::task(&task).await?).await,
        ("noctule", "sub") => noctule::subscribe(&task, noctule::task(&task).await?).await,
        ("thread", "pub") => noctule::publish(&task, noctule::thread(&task).await?).await,
        ("thread", "sub") => noctule::subscribe(&task, noctule::thread(&task).await?).await,
        ("rumqttc", "pub") => rumqtt::publish(&task).await,
        ("rumqttc", "sub") => rumqtt::subscribe(&task).await,
        _ => bail!("there is no {client} {role}"),
    }
}
