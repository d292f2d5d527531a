//! Tasks of the shard's thread: a panic in any of them ends the broker instead of one connection.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use crate::signal::Signal;

/// The first panic of the thread's tasks.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    message: RefCell<Option<String>>,
    signal: Signal,
}

impl Failure {
    fn report(&self, payload: &(dyn Any + Send)) {
        self.message.borrow_mut().get_or_insert_with(|| panic_message(payload));
        self.signal.raise();
    }

    fn has_happened(&self) -> bool {
        self.message.borrow().is_some()
    }

    /// Ready with the message of the first panic.
    pub(crate) fn poll_message(&self, context: &mut Context<'_>) -> Poll<String> {
        match self.message.borrow().clone() {
            Some(message) => Poll::Ready(message),
            None => self.signal.poll_raised(context).map(|()| String::new()),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

pin_project! {
    /// A future whose panic is reported, and which stands still once any other has panicked: what
    /// they share may be half changed.
    struct Guarded<F> {
        #[pin]
        future: F,
        failure: Rc<Failure>,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.failure.has_happened() {
            return Poll::Pending;
        }
        match catch_unwind(AssertUnwindSafe(|| this.future.poll(context))) {
            Ok(poll) => poll,
            Err(payload) => {
                this.failure.report(payload.as_ref());
                Poll::Pending
            }
        }
    }
}

/// Lets the tasks that are ready run first, without looking for new ones.
pub(crate) async fn step_aside() {
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

/// Runs a future on the current thread's `LocalSet`.
pub(crate) fn spawn<F>(failure: &Rc<Failure>, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    tokio::task::spawn_local(Guarded { future, failure: Rc::clone(failure) })
}
