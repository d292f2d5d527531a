//! The user's own method of authentication, asked on a thread where it may take its time: proving a
//! password takes milliseconds by design.

use std::future::Future;
use std::panic;
use std::pin::Pin;
use std::task::{Context, Poll};

use noctule_client_core::AuthenticationDone;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::course::Course;

/// The method, while it is at work.
#[derive(Debug, Default)]
pub(crate) struct Method {
    work: Option<JoinHandle<AuthenticationDone>>,
}

impl Method {
    /// Has the method do what is to be done, and passes on what it has done. Whether it has done
    /// anything; otherwise the task is woken when it has.
    pub(crate) fn poll(&mut self, course: &Course, context: &mut Context<'_>) -> bool {
        let mut has_done = false;
        loop {
            if let Some(work) = &mut self.work {
                let Poll::Ready(done) = Pin::new(work).poll(context) else { return has_done };
                self.work = None;
                match done.map_err(JoinError::try_into_panic) {
                    Ok(done) => course.authenticated(done),
                    Err(Ok(payload)) => panic::resume_unwind(payload),
                    // The runtime ends.
                    Err(Err(_)) => return has_done,
                }
                has_done = true;
            }
            let Some(step) = course.authentication_step() else { return has_done };
            self.work = Some(spawn_blocking(|| step.take()));
        }
    }
}
