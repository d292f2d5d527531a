//! The life of a shard's thread: from its runtime to the last connection it closes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::task::Poll;
use std::time::Duration;

use noctule_broker_core::{Durability, Input, ListenerId, Restored, Settings, ShardId, Timestamp};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::backlogs::backlog_loop;
use crate::error::BrokerError;
use crate::farewell::Farewell;
use crate::flush::flush_loop;
use crate::host;
use crate::inbox::{Inbox, inbox_loop};
use crate::keeping::keep_loop;
use crate::life::Life;
use crate::listener::{AsyncAcceptor, OpenListener, accept_loop};
use crate::request::{PublishRequest, Request};
use crate::shard::{Clock, ShardDriver, SharedDriver};
use crate::storage::{Share, Storage};
use crate::task::spawn;
use crate::watch::watch_loop;

/// Everything that a shard's thread starts with.
#[derive(Debug)]
pub(crate) struct Start {
    /// One thread accepts for all.
    pub(crate) listeners: Vec<OpenListener>,
    pub(crate) host_listener: ListenerId,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) inboxes: Arc<[Inbox]>,
    /// When all shards' clocks began, and what they showed then: what one says about time must mean
    /// the same to another, and to whoever opens the store the next time.
    pub(crate) started: Instant,
    pub(crate) began_at: Timestamp,
    /// What was stored, and the way to the store.
    pub(crate) share: Option<Share>,
    pub(crate) storage: Option<Arc<Storage>>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    /// One thread publishes for the host.
    pub(crate) publications: Option<mpsc::Receiver<PublishRequest>>,
    pub(crate) life: Arc<Life>,
}

/// Runs a shard on this thread until the broker is stopped or fails.
pub(crate) fn run(start: Start, ready: &std_mpsc::Sender<io::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, serve(start, ready));
}

async fn serve(start: Start, ready: &std_mpsc::Sender<io::Result<()>>) {
    let life = Arc::clone(&start.life);
    let (driver, acceptors) = match launch(start).await {
        Ok(launched) => launched,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let failure = Rc::clone(driver.borrow().failure());
    // The starter may have been given up on; the broker then stops when its handle is dropped.
    let _ = ready.send(Ok(()));

    let mut failed_elsewhere = pin!(life.failed());
    let mut stopped = pin!(async {
        let farewell = life.stopping().await;
        for acceptor in acceptors {
            acceptor.abort();
        }
        // An aborted task, and its socket with it, is dropped by the next turn.
        yield_now().await;
        stop(&driver, &life, farewell).await;
        // What has come to an end with the last connections. A shard that fails says nothing more.
        driver.borrow_mut().post_records();
    });
    poll_fn(|context| {
        if let Poll::Ready(message) = failure.poll_message(context) {
            life.fail(BrokerError::ShardPanicked { message });
            return Poll::Ready(());
        }
        if failed_elsewhere.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        stopped.as_mut().poll(context)
    })
    .await
}

/// Makes the driver and starts its tasks; those that accept connections are given back. They begin
/// when everything that was stored is in its place, on all shards.
async fn launch(start: Start) -> io::Result<(SharedDriver, Vec<JoinHandle<()>>)> {
    let Start { listeners, host_listener, settings, seed, inboxes, .. } = start;
    let clock = Clock { started: start.started, began_at: start.began_at };
    let driver = Rc::new_cyclic(|this| {
        let this = this.clone();
        RefCell::new(ShardDriver::new(this, settings, seed, host_listener, inboxes, clock))
    });
    let failure = Rc::clone(driver.borrow().failure());
    spawn(&failure, flush_loop(Rc::clone(&driver)));
    spawn(&failure, timer_loop(Rc::clone(&driver)));
    spawn(&failure, inbox_loop(Rc::clone(&driver)));
    if let Some(share) = start.share {
        restore(&driver, &start.life, share).await;
        spawn(&failure, keep_loop(Rc::clone(&driver)));
        spawn(&failure, backlog_loop(Rc::clone(&driver)));
        if driver.borrow().mail.shard() == ShardId(0) {
            spawn(&failure, watch_loop(Rc::clone(&driver)));
        }
    }
    let mut acceptors = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let id = ListenerId(u16::try_from(index).unwrap_or(u16::MAX));
        let acceptor = AsyncAcceptor::try_from(listener.acceptor)?;
        let durability = listener.settings.durability.map(Durability::name);
        info!(target: "noctule", address = %listener.address, durability, "listening");
        acceptors.push(spawn(&failure, accept_loop(Rc::clone(&driver), acceptor, id)));
    }
    spawn(&failure, host::request_loop(Rc::clone(&driver), start.requests));
    if let Some(publications) = start.publications {
        spawn(&failure, host::publish_loop(Rc::clone(&driver), publications));
    }
    Ok((driver, acceptors))
}

/// Gives the shard what was stored, and lets it go on when all others have what is theirs.
async fn restore(driver: &SharedDriver, life: &Life, share: Share) {
    let Share { keeper, backlogs, restored } = share;
    driver.borrow_mut().keeper = Some(keeper);
    driver.borrow_mut().backlogs = Some(backlogs);
    for restored in restored {
        let _ = driver.borrow_mut().input(Input::Restore(restored));
    }
    let signals = Rc::clone(driver.borrow().signals());
    let (mut failed, mut all_restored) = (
        pin!(life.failed()),
        pin!(async {
            signals.restored.raised().await;
            life.note_restored();
            life.all_restored().await;
        }),
    );
    poll_fn(|context| {
        if failed.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        all_restored.as_mut().poll(context)
    })
    .await;
    let _ = driver.borrow_mut().input(Input::Restore(Restored::GoOn));
}

/// Says good-bye to all clients and waits, within the deadline, until the last one has gone, here
/// and on all other shards: they may still need an answer of this one.
async fn stop(driver: &SharedDriver, life: &Life, farewell: Farewell) {
    let deadline = farewell.deadline;
    driver.borrow_mut().stop(farewell.into_command());
    life.note_quiet();
    let signals = Rc::clone(driver.borrow().signals());
    let all_gone = async {
        // From here on there are no sockets between shards but those in the inboxes.
        life.all_quiet().await;
        while driver.borrow().mail.has_arrived() {
            yield_now().await;
        }
        while driver.borrow().connections_open() > 0 {
            signals.connection_ended.raised().await;
        }
        life.note_empty();
        life.all_empty().await;
    };
    if timeout(deadline, all_gone).await.is_err() {
        let connections = driver.borrow().connections_open();
        if connections > 0 {
            warn!(target: "noctule", connections, ?deadline,
                "connections were cut off because they did not end within the deadline");
        }
    }
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
