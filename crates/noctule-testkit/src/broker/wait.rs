//! Waiting for something that a client does, by blocking or by awaiting, but not for ever.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use super::house::House;
use super::record::Received;
use super::state::State;

/// How long something is waited for unless the test says otherwise.
const WITHIN: Duration = Duration::from_secs(5);

/// What is looked for.
type Select<T> = Box<dyn FnMut(&mut State) -> Option<T> + Send>;

/// Waits for something that a client does: `.await` it, or call [`wait`](Self::wait) where nothing
/// can be awaited. What has happened already counts, unless somebody has waited for it before.
///
/// If it does not happen in time, the test fails with the whole conversation.
///
/// ```
/// use std::time::Duration;
///
/// use noctule_packet::QoS;
/// use noctule_testkit::{Peer, TestBroker};
///
/// let broker = TestBroker::start();
/// Peer::v5(broker.address(), "client").publish("a/b", "1", QoS::AtMostOnce);
/// assert_eq!(broker.next_publish("a/#").within(Duration::from_secs(1)).wait().text(), "1");
/// ```
#[must_use = "nothing is waited for before it is awaited, or `wait` is called"]
pub struct Wait<T> {
    house: Arc<House>,
    wanted: String,
    select: Select<T>,
    within: Duration,
    asked_at: &'static Location<'static>,
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl<T: 'static> Wait<T> {
    /// Waits for the first record that `select` wants and nobody has taken before.
    #[track_caller]
    pub(crate) fn new(
        house: &Arc<House>,
        wanted: impl Into<String>,
        mut select: impl FnMut(&Received, u64) -> Option<T> + Send + 'static,
    ) -> Self {
        Self {
            house: Arc::clone(house),
            wanted: wanted.into(),
            select: Box::new(move |state| state.take(&mut select)),
            within: WITHIN,
            asked_at: Location::caller(),
        }
    }

    /// Changes how long it is waited for; five seconds at first. With a broker in memory that is
    /// the runtime's time.
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Something else, made of what is waited for.
    pub(crate) fn map<U>(self, change: impl Fn(T) -> U + Send + 'static) -> Wait<U> {
        let Self { house, wanted, mut select, within, asked_at } = self;
        let select = Box::new(move |state: &mut State| select(state).map(&change));
        Wait { house, wanted, select, within, asked_at }
    }

    /// Blocks until it has happened.
    ///
    /// In a program under test that runs on the same thread nothing will happen meanwhile: a test
    /// that is a task of a runtime awaits.
    ///
    /// # Panics
    ///
    /// When it does not happen in time.
    #[track_caller]
    pub fn wait(mut self) -> T {
        let (house, within) = (Arc::clone(&self.house), self.within);
        match house.wait(within, &mut self.select) {
            Some(seen) => seen,
            None => self.fail(),
        }
    }

    /// It, if it has happened already.
    pub fn now(mut self) -> Option<T> {
        let house = Arc::clone(&self.house);
        house.look(&mut self.select)
    }

    fn poll(&mut self, waker: &Waker) -> Poll<T> {
        let select = &mut self.select;
        self.house.look(|state| match select(state) {
            Some(seen) => Poll::Ready(seen),
            None => {
                state.watch(waker);
                Poll::Pending
            }
        })
    }

    /// What `seen` comes to, and whether it came in time.
    async fn in_time(&mut self) -> Option<T> {
        #[cfg(feature = "tokio")]
        if matches!(self.house.clock, super::clock::Clock::Runtime(_)) {
            let within = self.within;
            let seen = poll_fn(|context| self.poll(context.waker()));
            return tokio::time::timeout(within, seen).await.ok();
        }
        let mut alarm = None;
        poll_fn(|context| {
            if let Poll::Ready(seen) = self.poll(context.waker()) {
                return Poll::Ready(Some(seen));
            }
            let alarm = alarm.get_or_insert_with(|| Alarm::new(self.within, context.waker()));
            if alarm.has_rung.load(Ordering::SeqCst) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    #[track_caller]
    fn fail(&self) -> ! {
        let Self { wanted, within, asked_at, .. } = self;
        let transcript = self.house.look(|state| state.transcript.to_string());
        panic!(
            "Waited {within:?} for {wanted} (asked for at {asked_at}), and it did not \
             come.\n{transcript}"
        )
    }
}

impl<T: Send + 'static> IntoFuture for Wait<T> {
    type Output = T;
    type IntoFuture = Pin<Box<dyn Future<Output = T> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.in_time().await {
                Some(seen) => seen,
                None => self.fail(),
            }
        })
    }
}

/// Wakes a task after a time, on whatever runtime.
struct Alarm {
    has_rung: Arc<AtomicBool>,
    /// When it is dropped, the thread ends.
    _stop: mpsc::Sender<()>,
}

impl Alarm {
    fn new(after: Duration, waker: &Waker) -> Self {
        let (stop, stopped) = mpsc::channel();
        let has_rung = Arc::new(AtomicBool::new(false));
        let (rung, waker) = (Arc::clone(&has_rung), waker.clone());
        thread::Builder::new()
            .name("test-broker-alarm".to_owned())
            .spawn(move || {
                if stopped.recv_timeout(after) == Err(mpsc::RecvTimeoutError::Timeout) {
                    rung.store(true, Ordering::SeqCst);
                    waker.wake();
                }
            })
            .expect("a thread");
        Self { has_rung, _stop: stop }
    }
}
