//! Nobody wakes up while there is nothing to do: not the client's thread, whether it has a
//! connection or waits for the next attempt, nor the thread of a user who waits for a message.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use noctule_broker::Broker;
use noctule_client::blocking::Client;
use noctule_client::{Backoff, ClientEvent, Counter, Jitter, Metrics, QoS, ReconnectSettings};

const LONG: Duration = Duration::from_secs(20);
/// Long enough to see somebody who looks around every now and then.
const WATCHED: Duration = Duration::from_millis(500);

/// Tells which thread attempts to connect, which is the client's own.
struct WhoConnects(mpsc::Sender<PathBuf>);

impl Metrics for WhoConnects {
    fn count(&self, counter: Counter, _amount: u64) {
        if let Counter::ConnectAttempts = counter {
            self.0.send(this_thread()).unwrap();
        }
    }
}

fn this_thread() -> PathBuf {
    Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap())
}

/// How often a thread has gone to sleep, which is how often it has woken up.
fn sleeps(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// A thread may still have something to do, but then it sleeps for good.
#[track_caller]
fn sleeps_soundly(thread: &Path) {
    let mut woken = 0;
    for _ in 0..10 {
        let before = sleeps(thread);
        #[expect(clippy::disallowed_methods, reason = "this time is what is measured")]
        thread::sleep(WATCHED);
        woken = sleeps(thread) - before;
        if woken == 0 {
            return;
        }
    }
    panic!("it has woken up {woken} times within {WATCHED:?}");
}

#[test]
fn an_idle_client_sleeps_until_something_happens() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let (sender, threads) = mpsc::channel();
    let client = Client::builder(format!("mqtt://{address}")).metrics(WhoConnects(sender));
    let client = client.connect().unwrap();
    let (sender, users) = mpsc::channel();
    let mut inbox = client.subscribe("t").send().unwrap();
    let user = thread::spawn(move || {
        sender.send(this_thread()).unwrap();
        inbox.recv().unwrap().text().unwrap().to_owned()
    });
    let own = threads.recv_timeout(LONG).unwrap();
    assert_eq!(fs::read_to_string(own.join("comm")).unwrap().trim(), "noctule-client");
    sleeps_soundly(&own);
    sleeps_soundly(&users.recv_timeout(LONG).unwrap());
    let receipt = client.publish("t", "awake").qos(QoS::AtLeastOnce).send().unwrap();
    assert_eq!(user.join().unwrap(), "awake");
    assert!(receipt.wait().is_delivered());
    assert!(client.shutdown(LONG).is_clean());
}

#[test]
fn a_client_sleeps_through_the_pause_between_attempts() {
    let (sender, threads) = mpsc::channel();
    let (base, maximum) = (2 * LONG, 2 * LONG);
    let backoff = Backoff { base, maximum, jitter: Jitter::None, ..Backoff::default() };
    let client = Client::builder("mqtt://127.0.0.1:1")
        .metrics(WhoConnects(sender))
        .reconnect(ReconnectSettings { backoff, ..ReconnectSettings::default() })
        .start()
        .unwrap();
    let mut events = client.events();
    let own = threads.recv_timeout(LONG).unwrap();
    if !matches!(client.state(), noctule_client::State::Waiting(_)) {
        assert!(events.any(|event| matches!(event, ClientEvent::Waiting { .. })));
    }
    sleeps_soundly(&own);
    // It is not dead.
    client.reconnect_now();
    assert_eq!(threads.recv_timeout(LONG).unwrap(), own);
}
