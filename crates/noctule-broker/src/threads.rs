//! One thread for each shard: they start together, and the broker has ended when the last one has.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};

use crate::error::BrokerError;
use crate::life::Life;
use crate::run::{self, Start};
use crate::storage::Storage;
use crate::task::panic_message;

/// Starts a thread for each shard and waits until all of them serve. If one cannot, none does.
pub(crate) fn start(shards: Vec<Start>, life: &Arc<Life>) -> io::Result<()> {
    let count = shards.len();
    let (ready, is_ready) = std_mpsc::channel();
    let mut threads = Vec::with_capacity(count);
    let mut result = Ok(());
    for start in shards {
        match spawn(start, ready.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    drop(ready);
    if result.is_err() {
        life.fail(not_all());
    }
    for _ in 0..threads.len() {
        let started = is_ready.recv();
        result = result.and(
            started.unwrap_or_else(|_| Err(io::Error::other("a shard's thread ended at once"))),
        );
        if result.is_err() {
            // The others may wait for it.
            life.fail(not_all());
        }
    }
    if result.is_err() {
        for thread in threads {
            // Its outcome would be nobody's.
            let _ = thread.join();
        }
    }
    result
}

fn not_all() -> BrokerError {
    BrokerError::ShardPanicked { message: "not all threads started".to_owned() }
}

fn spawn(mut start: Start, ready: std_mpsc::Sender<io::Result<()>>) -> io::Result<JoinHandle<()>> {
    let name = format!("noctule-shard-{}", start.settings.shard.0);
    let life = Arc::clone(&start.life);
    thread::Builder::new().name(name).spawn(move || {
        // The last one closes the store, before anybody can know that the broker has ended.
        let storage = start.storage.take();
        let end = catch_unwind(AssertUnwindSafe(|| run::run(start, &ready)));
        if let Err(payload) = end {
            life.fail(BrokerError::ShardPanicked { message: panic_message(payload.as_ref()) });
        }
        if let Some(Err(error)) = storage.and_then(Arc::into_inner).map(Storage::close) {
            life.fail(error);
        }
        life.note_ended();
    })
}
