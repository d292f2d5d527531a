//! Handlers of routes at work: whoever runs them, they are stopped and waited for alike.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use noctule_client_core::{MailboxId, UnsubscribeRequest, enlist};
use noctule_packet::{TopicFilter, UserProperties};

use crate::asked::ask_as_before;
use crate::shared::Shared;
use crate::subscription::Subscription;
use crate::users::{Filters, UserId};
use crate::wait::block_on;

/// A handler at work. Clones are the same handler; it goes on when all of them are dropped, until
/// the client has ended. The handler itself may stop it, too:
/// [`RoutedMessage::handler`](crate::RoutedMessage::handler).
#[derive(Clone, Debug)]
pub struct Handler(Arc<Control>);

impl Handler {
    pub(crate) const fn new(control: Arc<Control>) -> Self {
        Self(control)
    }

    /// Has it end. One that is awaited ends whatever it does at the moment; one that blocks, when
    /// it has returned from the message that it has. What has arrived and was not handled is
    /// refused. The subscription stays, so that messages may arrive for nobody.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The same, and the subscription ends, unless somebody else uses it. The server's answer is
    /// not waited for.
    pub fn unsubscribe(&self) {
        self.0.unsubscribe();
    }

    /// Waits until it has ended: because it was stopped, or because there are no more messages.
    /// `false` if it has panicked over one. Not from within the handler.
    pub async fn finished(&self) -> bool {
        poll_fn(|context| self.0.poll_finished(context.waker())).await
    }

    /// The blocking form of [`finished`](Self::finished).
    pub fn wait(&self) -> bool {
        block_on(self.finished())
    }
}

/// The work of a handler, for any runtime; see [`Route::handling`](crate::Route::handling).
/// Dropped, it ends the handler.
#[must_use = "nothing is handled before it is polled"]
pub struct Handling {
    /// Nothing, once it is over.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    control: Arc<Control>,
}

impl fmt::Debug for Handling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handling").field("control", &self.control).finish_non_exhaustive()
    }
}

impl Handling {
    pub(crate) fn new(
        control: Arc<Control>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { work: Some(Box::pin(work)), control }
    }

    fn end(&mut self) {
        // Its stream is gone when it is told.
        self.work = None;
        self.control.end();
    }
}

impl Future for Handling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let goes_on = self.control.goes_on(context.waker());
        if let Some(work) = self.work.as_mut().filter(|_| goes_on)
            && work.as_mut().poll(context).is_pending()
        {
            return Poll::Pending;
        }
        self.end();
        Poll::Ready(())
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.end();
    }
}

/// The stream of a route, for those who end it from outside, and how its handler fares.
pub(crate) struct Control {
    shared: Arc<Shared>,
    mailbox: MailboxId,
    usage: UserId,
    filters: Filters,
    work: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    is_stopped: bool,
    has_ended: bool,
    has_panicked: bool,
    /// Whoever runs it.
    runner: Option<Waker>,
    /// Those who wait for its end.
    waiting: Vec<Waker>,
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("filters", &self.filters).finish_non_exhaustive()
    }
}

impl Control {
    pub(crate) fn of<D>(messages: &Subscription<D>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(messages.shared()),
            mailbox: messages.mailbox(),
            usage: messages.usage,
            filters: messages.filters.clone(),
            work: Mutex::default(),
        })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        let runner = {
            let mut work = self.work();
            work.is_stopped = true;
            work.runner.take()
        };
        let now = self.shared.now();
        self.shared.with(|inner| inner.hub.close_mailbox(now, self.mailbox));
        if let Some(runner) = runner {
            runner.wake();
        }
    }

    pub(crate) fn unsubscribe(&self) {
        self.stop();
        let now = self.shared.now();
        let unused = self.shared.with(|inner| {
            let left = inner.users.leave(self.usage, &self.filters.asked);
            // What cannot be asked for any more ends with the client.
            for operation in ask_as_before(inner, now, &left, None).unwrap_or_default() {
                inner.hub.forget(operation);
            }
            left.unused
        });
        if unused.is_empty() {
            return;
        }
        let names = self.filters.names_of(&unused);
        let Ok(draft) = self.shared.intercept_unsubscribe(names, UserProperties::new()) else {
            return;
        };
        let filters = draft.filters.iter().filter_map(|filter| TopicFilter::new(filter).ok());
        let filters: Vec<TopicFilter<'_>> = filters.collect();
        let mut request = UnsubscribeRequest::new(&filters);
        request.user_properties = draft.user_properties;
        self.shared.with(|inner| {
            if let Ok(operation) = inner.hub.unsubscribe(now, &request) {
                inner.hub.forget(operation);
            }
        });
    }

    /// Whether the handler is to go on. Whoever runs it is woken when it is not.
    fn goes_on(&self, runner: &Waker) -> bool {
        let mut work = self.work();
        let goes_on = !work.is_stopped;
        let before = work.runner.replace(runner.clone());
        drop(work);
        drop(before);
        goes_on
    }

    pub(crate) fn note_panic(&self) {
        self.work().has_panicked = true;
    }

    /// The handler is called no more.
    pub(crate) fn end(&self) {
        let waiting = {
            let mut work = self.work();
            work.has_ended = true;
            std::mem::take(&mut work.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll_finished(&self, waker: &Waker) -> Poll<bool> {
        let mut work = self.work();
        if work.has_ended {
            return Poll::Ready(!work.has_panicked);
        }
        enlist(&mut work.waiting, waker);
        Poll::Pending
    }
}

/// The routes of a group that somebody uses.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<Vec<Weak<Control>>>);

impl Members {
    pub(crate) fn add(&self, control: &Arc<Control>) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(control));
    }

    /// All of them, which are none of it any more.
    pub(crate) fn take(&self) -> impl Iterator<Item = Arc<Control>> + use<> {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *members).into_iter().filter_map(|member| member.upgrade())
    }
}
