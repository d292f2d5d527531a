//! Waiting: for sockets and other threads at once, and giving an attempt up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use noctule_transport::blocking::Waiter;
use noctule_transport::{DialerBuilder, Stage, TransportError, Url};

use crate::conversation::{FRONTS, Front, dial, echo_blocking, runtime};
use crate::server::{echo_server, serve, silent_server};

fn dialer(scheme: &str, address: std::net::SocketAddr) -> DialerBuilder {
    DialerBuilder::new(format!("{scheme}://{address}").parse::<Url>().unwrap())
}

#[test]
fn another_thread_gives_a_blocking_attempt_up() {
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        sender.send(()).unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut waiter = Waiter::new().unwrap();
    let waker = waiter.waker();
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let for_thread = Arc::clone(&is_cancelled);
    let thread = thread::spawn(move || {
        receiver.recv().unwrap();
        // A wake-up alone changes nothing.
        waker.wake().unwrap();
        for_thread.store(true, Ordering::SeqCst);
        waker.wake().unwrap();
    });
    let dialer = dialer("ws", address).build_blocking().unwrap();
    let outcome = dialer.dial(&mut waiter, &mut || is_cancelled.load(Ordering::SeqCst));
    let error = outcome.unwrap_err();
    let is_cancelled = matches!(error, TransportError::Cancelled { stage: Stage::WebSocket });
    assert!(is_cancelled, "{error:?}");
    thread.join().unwrap();
}

#[test]
fn a_waker_interrupts_a_connection_that_has_nothing_to_read() {
    let mut waiter = Waiter::new().unwrap();
    let connected = dial(&dialer("mqtt", echo_server()), &mut waiter).unwrap();
    let waker = waiter.waker();
    let is_woken = Arc::new(AtomicBool::new(false));
    let for_thread = Arc::clone(&is_woken);
    let thread = thread::spawn(move || {
        for_thread.store(true, Ordering::SeqCst);
        waker.wake().unwrap();
    });
    while !is_woken.load(Ordering::SeqCst) {
        waiter.wait(Some(Duration::from_secs(10))).unwrap();
    }
    thread.join().unwrap();
    echo_blocking(connected.stream, &mut waiter, b"still there");
}

#[test]
fn a_waiter_serves_one_connection_after_another() {
    let mut waiter = Waiter::new().unwrap();
    let dialer = dialer("mqtt", echo_server());
    for _ in 0..3 {
        let connected = dial(&dialer, &mut waiter).unwrap();
        echo_blocking(connected.stream, &mut waiter, b"again");
    }
}

#[test]
fn a_dropped_future_gives_an_attempt_up() {
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |mut stream| {
        let ended = std::io::copy(&mut stream, &mut std::io::sink());
        sender.send(ended.is_ok()).unwrap();
    });
    runtime().block_on(async {
        let dialer = dialer("ws", address).build().unwrap();
        let limit = Duration::from_millis(100);
        assert!(tokio::time::timeout(limit, dialer.dial()).await.is_err());
    });
    assert!(receiver.recv().unwrap(), "the connection has been closed");
}

#[test]
fn no_time_at_all_is_too_little() {
    let dialer = dialer("ws", silent_server()).connect_timeout(Duration::ZERO);
    for front in FRONTS {
        let error = front.converse(&dialer, b"").unwrap_err();
        assert!(matches!(error, TransportError::TimedOut { .. }), "{error:?}");
    }
}

#[test]
fn endless_time_is_not_too_much() {
    let dialer = dialer("mqtt", echo_server()).connect_timeout(Duration::MAX);
    for front in [Front::Tokio, Front::Thread] {
        front.converse(&dialer, b"patience").unwrap();
    }
}
