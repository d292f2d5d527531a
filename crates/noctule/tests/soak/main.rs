//! Clients of both forms for as long as one likes, against `noctule serve`, on connections that
//! break all the time: nothing is lost, nothing of QoS 2 comes twice, every receipt ends, and the
//! clients do not grow.
//!
//! A run of some seconds is one of the tests; `NOCTULE_SOAK_SECONDS=3600 cargo test --package
//! noctule --test soak -- --nocapture` is one of an hour, and says what it has seen.
#![cfg(target_os = "linux")]

mod asynchronous;
mod blocking;
mod ledger;
mod memory;
mod server;
mod weather;

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use noctule_client::{Backoff, Keep, QoS, ReconnectSettings, Redelivery, Settings, State};
use noctule_testkit::FaultProxy;

use ledger::Ledger;
use memory::Memory;
use server::Server;
use weather::Weather;

/// How long a run takes that nobody asks for.
const SECONDS: u64 = 15;
/// How long what is under way may take, once nothing breaks any more.
const END: Duration = Duration::from_secs(60);
/// How often messages follow each other.
const PAUSE: Duration = Duration::from_millis(2);
const SAMPLED: Duration = Duration::from_millis(100);

/// Where one side publishes what the other side gets.
const TO_BLOCKING: &str = "soak/to-blocking";
const TO_ASYNCHRONOUS: &str = "soak/to-asynchronous";

fn seconds() -> u64 {
    let told = std::env::var("NOCTULE_SOAK_SECONDS");
    told.map_or(SECONDS, |told| told.parse().expect("NOCTULE_SOAK_SECONDS is a number"))
}

/// What every client here wants, whatever its form.
fn reconnect() -> ReconnectSettings {
    let [base, maximum] = [5, 100].map(Duration::from_millis);
    let backoff = Backoff { base, maximum, busy_delay: base, ..Backoff::default() };
    ReconnectSettings { backoff, ..ReconnectSettings::default() }
}

fn change(settings: &mut Settings) {
    settings.connect.keep_alive = 1;
    settings.connect.session_expiry_interval = 3_600;
    settings.ping_timeout = Some(Duration::from_secs(1));
    settings.connect_timeout = Some(Duration::from_secs(1));
    settings.queue.keep = Keep::All;
    // Here it is never a message's fault.
    settings.redelivery = Redelivery { interruptions_max: None, ..Redelivery::default() };
}

/// Fails if a client has given up, which none of these faults is a reason for.
#[track_caller]
fn goes_on(state: &State) {
    if let State::Stopped(reason) = state {
        panic!("a client has given up: {reason}");
    }
}

/// The bytes of a message: its number, and a length that is often another one.
fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    let length = 8 + usize::try_from(number * 37 % 1_500).unwrap_or_default();
    payload.resize(length, b'.');
    payload
}

const fn qos(number: u64) -> QoS {
    match number % 8 {
        0 => QoS::AtMostOnce,
        1..=4 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

#[test]
fn clients_of_both_forms_outlive_their_connections() {
    let run = Duration::from_secs(seconds());
    let server = Server::start();
    let proxies: [Arc<FaultProxy>; 4] =
        std::array::from_fn(|_| Arc::new(FaultProxy::to(server.address())));
    let url = |at: usize| proxies[at].url();
    let (to_blocking, to_asynchronous) = (Arc::new(Ledger::new()), Arc::new(Ledger::new()));
    let asynchronous = asynchronous::start(
        [url(0), url(1)],
        Arc::clone(&to_blocking),
        Arc::clone(&to_asynchronous),
    );
    let blocking =
        blocking::start([url(2), url(3)], Arc::clone(&to_asynchronous), Arc::clone(&to_blocking));
    let ledgers = [&*to_blocking, &*to_asynchronous];
    ledgers.iter().for_each(|ledger| ledger.open());
    let weather = Weather::begin(proxies.to_vec());
    let (mut memory, start) = (Memory::default(), Instant::now());
    let (_never, clock) = mpsc::channel::<()>();
    while start.elapsed() < run {
        assert_eq!(clock.recv_timeout(SAMPLED), Err(RecvTimeoutError::Timeout));
        memory.sample();
        ledgers.iter().for_each(|ledger| ledger.check());
        asynchronous.check();
        blocking.check();
    }
    let rounds = weather.end();
    ledgers.iter().for_each(|ledger| ledger.close());
    let deadline = Instant::now() + END;
    while !ledgers.iter().all(|ledger| ledger.is_even()) && Instant::now() < deadline {
        thread::park_timeout(SAMPLED);
    }
    let connections: u64 = proxies.iter().map(|proxy| proxy.connections()).sum();
    println!("{rounds} rounds of faults, {connections} connections within {run:?}");
    for (ledger, way) in ledgers.iter().zip([TO_BLOCKING, TO_ASYNCHRONOUS]) {
        println!("{way}: {}", ledger.report());
        ledger.check();
        assert!(ledger.is_even(), "{way}: {}", ledger.report());
        assert!(ledger.messages() > 100, "{way}: {}", ledger.report());
    }
    println!("memory: {}", memory.report());
    asynchronous.end();
    blocking.end();
    assert!(connections > 20, "nothing has broken");
    memory.check(run);
}
