//! The broker over real sockets, and the host program's own way in.

mod allocation;
mod amplification;
mod closing;
mod contradictory;
mod cycles;
mod deaf;
mod descriptors;
mod durable;
mod exactly_once;
mod failing_disk;
mod fairness;
mod faults;
mod hostile;
mod in_flight;
mod in_process;
mod isolation;
mod leaks;
mod levels;
mod lifecycle;
mod listeners;
mod modes;
mod neighbours;
mod panic;
mod process;
mod properties;
mod queues;
mod raw;
mod recovery;
mod requests;
mod retained;
mod rules;
mod scarce;
mod shards;
mod shards_moving;
mod shards_stopping;
mod standing;
mod strangers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use noctule_broker::{Broker, Builder, Handle, Limits, LocalAddress, Received, Subscription};

/// Long enough for anything that works.
const DEADLINE: Duration = Duration::from_secs(5);

/// How many shards the brokers of these tests have: what the environment says, or one.
fn shards() -> u16 {
    std::env::var("NOCTULE_SHARDS").map_or(1, |count| count.parse().expect("a number of shards"))
}

/// A broker on a free port, and its address.
fn start(builder: Builder) -> (Handle, SocketAddr) {
    let broker = builder.shards(shards()).listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs().iter().find_map(LocalAddress::tcp).unwrap();
    (broker, address)
}

fn start_with(limits: Limits) -> (Handle, SocketAddr) {
    start(Broker::builder().limits(limits))
}

/// A broker with a Unix socket besides: through it, the kernel keeps little for those who do not
/// read.
fn start_with_socket(name: &str, limits: Limits) -> (Handle, SocketAddr, PathBuf) {
    let path = std::env::temp_dir().join(format!("noctule-{}-{name}", std::process::id()));
    let builder = Broker::builder().limits(limits).listen(format!("unix:{}", path.display()));
    let (broker, address) = start(builder);
    (broker, address, path)
}

fn start_default() -> (Handle, SocketAddr) {
    start(Broker::builder())
}

/// The next message, which must come before long.
fn next(subscription: &mut Subscription) -> Option<Received> {
    wait(subscription.next())
}

/// Runs a future on this thread, without any runtime, and not for ever.
fn wait<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    let end = Instant::now() + 4 * DEADLINE;
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                assert!(Instant::now() < end, "nothing has happened for too long");
                thread::park_timeout(end - Instant::now());
            }
        }
    }
}
