//! The program's provider of credentials, asked on a thread of its own: it may block, and the
//! client's thread has times to keep meanwhile.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};

use crate::credentials::{Credentials, CredentialsProvider};
use crate::wait::block_on;

type Answer = Result<Credentials, Box<dyn Error + Send + Sync>>;

/// Asks for credentials, one question at a time.
#[derive(Default)]
pub(crate) struct Clerk(Option<Question>);

/// A question, until it is answered.
struct Question {
    thread: JoinHandle<()>,
    /// Nothing, if the question was given up before it was answered.
    answer: Receiver<Option<Answer>>,
    is_given_up: Arc<AtomicBool>,
}

impl Clerk {
    /// What the provider answers. While it still blocks over a question that was given up, it is
    /// not asked another one, lest threads pile up.
    pub(crate) fn poll(
        &mut self,
        provider: &Arc<dyn CredentialsProvider>,
        waker: &Waker,
    ) -> Poll<Answer> {
        loop {
            let question = match self.0.take() {
                Some(question) => question,
                None => match Question::ask(Arc::clone(provider), waker.clone()) {
                    Ok(question) => question,
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            };
            match question.answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.0 = Some(question);
                    return Poll::Pending;
                }
                Ok(Some(answer)) if !question.is_given_up() => return Poll::Ready(answer),
                // To an older question.
                Ok(_) => {}
                // As if it had been asked here.
                Err(TryRecvError::Disconnected) => {
                    if let Err(payload) = question.thread.join() {
                        resume_unwind(payload);
                    }
                }
            }
        }
    }

    /// Nobody waits for the answer any more. A provider that does not block leaves off.
    pub(crate) fn give_up(&self) {
        if let Some(question) = &self.0 {
            question.is_given_up.store(true, Ordering::Release);
            question.thread.thread().unpark();
        }
    }
}

impl Question {
    fn ask(provider: Arc<dyn CredentialsProvider>, waker: Waker) -> io::Result<Self> {
        let (sender, answer) = mpsc::channel();
        let is_given_up = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_given_up);
        let work = move || {
            // It rings last, also if the provider panics.
            let _bell = Bell(waker);
            let sender = sender;
            let mut asked = pin!(provider.credentials());
            let answer = block_on(poll_fn(|context| match is_over.load(Ordering::Acquire) {
                true => Poll::Ready(None),
                false => asked.as_mut().poll(context).map(Some),
            }));
            // The client may have ended.
            let _ = sender.send(answer);
        };
        let thread = thread::Builder::new().name("noctule-credentials".to_owned()).spawn(work)?;
        Ok(Self { thread, answer, is_given_up })
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }
}

/// Wakes when it is dropped.
struct Bell(Waker);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}
