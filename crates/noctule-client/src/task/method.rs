//! The user's own method of authentication, asked where the runtime lets it take its time.

use std::task::{Context, Poll};

use noctule_client_core::AuthenticationDone;

use crate::course::Course;
use crate::task::ground::{Ground, Promise};

/// The method, while it is at work.
#[derive(Default)]
pub(crate) struct Method {
    work: Option<Promise<Option<AuthenticationDone>>>,
}

impl Method {
    /// Has the method do what is to be done, and passes on what it has done. Whether it has done
    /// anything; otherwise the task is woken when it has.
    pub(crate) fn poll(
        &mut self,
        ground: &impl Ground,
        course: &Course,
        context: &mut Context<'_>,
    ) -> bool {
        let mut has_done = false;
        loop {
            if let Some(work) = &mut self.work {
                let Poll::Ready(done) = work.as_mut().poll(context) else { return has_done };
                self.work = None;
                // The runtime ends.
                let Some(done) = done else { return has_done };
                course.authenticated(done);
                has_done = true;
            }
            let Some(step) = course.authentication_step() else { return has_done };
            self.work = Some(ground.ask(step));
        }
    }
}
