//! Sends log lines to the standard error stream, on a thread that may wait for it: the broker does
//! not.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::warn;

use crate::configuration::{Configuration, LogFormat};

/// Bytes of lines that wait for the stream. Lines beyond it are left out, counted and reported.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// How long the end of the program waits for the last lines to be taken.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// The log; the last lines are written out when it is dropped.
#[derive(Debug)]
pub(crate) struct Log {
    orders: Sender<Order>,
}

/// Starts logging. Called once, before the broker starts.
pub(crate) fn start(configuration: &Configuration) -> Result<Log> {
    let (orders, received) = mpsc::channel();
    let waiting = Arc::new(Waiting::default());
    let queue = Queue { orders: orders.clone(), waiting: Arc::clone(&waiting) };
    thread::Builder::new()
        .name("noctule-log".into())
        .spawn(move || write_lines(&received, &waiting))
        .context("cannot start the thread of the log")?;
    let lines = tracing_subscriber::fmt()
        .with_max_level(configuration.log_level)
        .with_writer(move || queue.clone());
    match configuration.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(Log { orders })
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, is_done) = mpsc::channel();
        if self.orders.send(Order::Report(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_DEADLINE);
        }
    }
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    /// Tell that everything before this has been written.
    Report(Sender<()>),
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    lines_left_out: AtomicU64,
}

/// Where lines are put in; never waits, never fails.
#[derive(Clone, Debug)]
struct Queue {
    orders: Sender<Order>,
    waiting: Arc<Waiting>,
}

impl Write for Queue {
    /// Takes a whole line; the subscriber writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let before = self.waiting.bytes.fetch_add(line.len(), Ordering::Relaxed);
        if before + line.len() > WAITING_BYTES_MAX {
            self.waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.waiting.lines_left_out.fetch_add(1, Ordering::Relaxed);
        } else {
            let _ = self.orders.send(Order::Write(line.to_vec()));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until the program ends. A stream that takes nothing any more costs the lines, no more.
fn write_lines(orders: &Receiver<Order>, waiting: &Waiting) {
    for order in orders {
        match order {
            Order::Write(line) => {
                let _ = io::stderr().write_all(&line);
                waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                let count = waiting.lines_left_out.swap(0, Ordering::Relaxed);
                if count > 0 {
                    warn!(target: "noctule", count, limit = WAITING_BYTES_MAX,
                        "log lines were left out because nobody took them in time");
                }
            }
            Order::Report(done) => {
                let _ = done.send(());
            }
        }
    }
}
