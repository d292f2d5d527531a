//! The life of the shard's thread: from its runtime to the last connection it closes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc as std_mpsc;
use std::task::Poll;
use std::time::Duration;

use noctule_broker_core::{Input, ListenerId, Settings};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::error::BrokerError;
use crate::host;
use crate::listener::{AsyncAcceptor, OpenListener, accept_loop};
use crate::request::{PublishRequest, Request};
use crate::shard::{ShardDriver, SharedDriver};
use crate::task::spawn;

/// Everything that the thread starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) listeners: Vec<OpenListener>,
    pub(crate) host_listener: ListenerId,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) publications: mpsc::Receiver<PublishRequest>,
}

/// Runs the broker on this thread until it is stopped or fails.
pub(crate) fn run(
    start: Start,
    ready: &std_mpsc::Sender<io::Result<()>>,
) -> Result<(), BrokerError> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    LocalSet::new().block_on(&runtime, serve(start, ready))
}

async fn serve(start: Start, ready: &std_mpsc::Sender<io::Result<()>>) -> Result<(), BrokerError> {
    let Start { listeners, host_listener, settings, seed, requests, publications } = start;
    let driver = Rc::new_cyclic(|this| {
        RefCell::new(ShardDriver::new(this.clone(), settings, seed, host_listener))
    });
    let (failure, signals) = {
        let driver = driver.borrow();
        (Rc::clone(driver.failure()), Rc::clone(driver.signals()))
    };
    let mut acceptors = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let id = ListenerId(u16::try_from(index).unwrap_or(u16::MAX));
        let acceptor = match AsyncAcceptor::try_from(listener.acceptor) {
            Ok(acceptor) => acceptor,
            Err(error) => {
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        info!(target: "noctule", address = %listener.address, "listening");
        acceptors.push(spawn(&failure, accept_loop(Rc::clone(&driver), acceptor, id)));
    }
    spawn(&failure, flush_loop(Rc::clone(&driver)));
    spawn(&failure, timer_loop(Rc::clone(&driver)));
    spawn(&failure, host::request_loop(Rc::clone(&driver), requests));
    spawn(&failure, host::publish_loop(Rc::clone(&driver), publications));
    // The starter may have been given up on; the broker then stops when its handle is dropped.
    let _ = ready.send(Ok(()));

    let stopped = async {
        signals.stop.raised().await;
        for acceptor in acceptors {
            acceptor.abort();
        }
        // An aborted task, and its socket with it, is dropped by the next turn.
        yield_now().await;
        stop(&driver).await;
    };
    let mut stopped = pin!(stopped);
    poll_fn(|context| {
        if let Poll::Ready(message) = failure.poll_message(context) {
            return Poll::Ready(Err(BrokerError::ShardPanicked { message }));
        }
        stopped.as_mut().poll(context).map(Ok)
    })
    .await
}

/// Says good-bye to all clients and waits, within the deadline, until the last one has gone.
async fn stop(driver: &SharedDriver) {
    let farewell = driver.borrow().farewell();
    let deadline = farewell.deadline;
    info!(target: "noctule", ?deadline, "stopping");
    let _ = driver.borrow_mut().input(Input::Command(farewell.into_command()));
    let signals = Rc::clone(driver.borrow().signals());
    let all_gone = async {
        while driver.borrow().connections_open() > 0 {
            signals.connection_ended.raised().await;
        }
    };
    if timeout(deadline, all_gone).await.is_err() {
        let connections = driver.borrow().connections_open();
        warn!(target: "noctule", connections, ?deadline,
            "connections were cut off because they did not end within the deadline");
    }
    info!(target: "noctule", "stopped");
}

/// Writes out what the tasks that ran before it have produced: one attempt for each connection.
///
/// The signal puts this task behind those that are ready already, so that one write carries what
/// all of them had for a connection.
async fn flush_loop(driver: SharedDriver) {
    let signals = Rc::clone(driver.borrow().signals());
    loop {
        signals.flush.raised().await;
        driver.borrow_mut().flush_dirty();
        if driver.borrow().has_waiting_hosts() {
            yield_now().await;
            driver.borrow_mut().continue_hosts();
        } else if signals.flush.is_raised() {
            step_aside().await;
        }
    }
}

/// Lets the tasks that are ready run first, without looking for new ones.
async fn step_aside() {
    let mut has_stepped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Tells the shard when its one deadline has passed.
async fn timer_loop(driver: SharedDriver) {
    let signals = Rc::clone(driver.borrow().signals());
    let far = Instant::now() + Duration::from_secs(86_400);
    let mut sleep = pin!(sleep_until(far));
    loop {
        let armed = driver.borrow_mut().arm();
        let is_due = match armed {
            None => {
                signals.timer.raised().await;
                false
            }
            Some(at) if at <= Instant::now() => {
                // Work that the shard left for another turn: everybody else comes first.
                yield_now().await;
                true
            }
            Some(at) => {
                sleep.as_mut().reset(at);
                poll_fn(|context| match signals.timer.poll_raised(context) {
                    Poll::Ready(()) => Poll::Ready(false),
                    Poll::Pending => sleep.as_mut().poll(context).map(|()| true),
                })
                .await
            }
        };
        if is_due {
            let _ = driver.borrow_mut().input(Input::Timeout);
        }
    }
}
