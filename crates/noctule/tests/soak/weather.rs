//! Faults of all kinds on every connection, another one every now and then.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use noctule_testkit::{Cut, FaultProxy};

/// How long one kind of fault lasts.
const ROUND: Duration = Duration::from_millis(400);

/// A thread that lets connections break.
pub(crate) struct Weather {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Weather {
    pub(crate) fn begin(proxies: Vec<Arc<FaultProxy>>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let seed = RandomState::new().hash_one(0);
        println!("the seed is {seed}");
        let thread = thread::spawn(move || {
            let (mut random, mut rounds) = (seed, 0);
            while stopped.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
                for proxy in &proxies {
                    // Not the best of sequences, but good enough to choose a fault.
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    strike(proxy, random >> 33);
                }
                rounds += 1;
            }
            proxies.iter().for_each(|proxy| proxy.heal());
            rounds
        });
        Self { stop, thread }
    }

    /// Nothing breaks any more. How many rounds there were.
    pub(crate) fn end(self) -> u64 {
        drop(self.stop);
        self.thread.join().expect("it does not panic")
    }
}

/// What happens to the connections of one client until the next round.
fn strike(proxy: &FaultProxy, random: u64) {
    proxy.heal();
    match random % 8 {
        0 => {}
        1 => proxy.cut_randomly(random, 20_000, Cut::End),
        2 => proxy.cut_randomly(random, 200_000, Cut::Reset),
        3 => {
            proxy.cut(Cut::Reset);
        }
        4 => {
            proxy.split_randomly(random, 7);
            proxy.cut_randomly(random, 50_000, Cut::Reset);
        }
        5 => proxy.black_hole(),
        6 => {
            proxy.refuse_connections();
            proxy.cut(Cut::End);
        }
        _ => proxy.delay(Duration::from_millis(random % 20)),
    }
}
