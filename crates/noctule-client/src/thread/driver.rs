//! Carries a client's course out on a thread that waits for readiness.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use noctule_client_core::{Ended, Target, TransportEnd};
use noctule_transport::TransportError;
use noctule_transport::blocking::{self, BoxedTransport, Connected, Waiter};

use crate::attempt::AttemptError;
use crate::connection::{Connection, GOODBYE, Line, Turn};
use crate::course::{Course, Interruption, Next, unusable};
use crate::credentials::{Credentials, CredentialsError};
use crate::error::StopReason;
use crate::shared::{FAR, earlier};
use crate::thread::clerk::Clerk;
use crate::wait::Driving;

/// Starts the thread of a client.
pub(crate) fn start(course: Course) -> io::Result<()> {
    let waiter = Waiter::new()?;
    let waker = Waker::from(Arc::new(EndWaiting(waiter.waker())));
    let driver = Driver { course, waiter, waker, clerk: Clerk::default() };
    thread::Builder::new().name("noctule-client".to_owned()).spawn(|| driver.run())?;
    Ok(())
}

/// Ends the waiting of the client's thread.
struct EndWaiting(blocking::Waker);

impl Wake for EndWaiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It only fails when the thread is gone.
        let _ = self.0.wake();
    }
}

struct Driver {
    course: Course,
    waiter: Waiter,
    waker: Waker,
    clerk: Clerk,
}

impl Driver {
    /// Does everything until the client has ended.
    fn run(mut self) {
        let _driving = Driving::begin();
        let mut next = self.course.first();
        let reason = loop {
            let (at, target, failures) = match next {
                Next::Attempt { at, target, failures } => (at, target, failures),
                Next::Rest => {
                    self.course.rest();
                    match self.meanwhile(pending::<Infallible>(), None) {
                        Ok(_) => {}
                        Err(Interruption::Over) => break StopReason::ShutDown,
                        Err(Interruption::Wish) => next = self.course.as_wished(),
                    }
                    continue;
                }
                Next::End(reason) => break reason,
            };
            let paused = match self.course.pause(at) {
                Some(delay) => self.pause(Instant::now() + delay),
                None => Ok(()),
            };
            let opened = paused.and_then(|()| self.open(&target, failures));
            next = match opened {
                Ok(Ok(connected)) => {
                    let ended = self.serve(connected.stream);
                    self.course.after(&ended)
                }
                Ok(Err(error)) => {
                    let ended = self.course.failed(error);
                    self.course.after(&ended)
                }
                Err(Interruption::Over) => break StopReason::ShutDown,
                Err(Interruption::Wish) => self.course.as_wished(),
            };
        };
        self.until(Course::poll_kept);
        self.course.close(&reason);
        self.until(Course::poll_left);
        self.course.finish(reason);
    }

    /// Opens the transport, with fresh credentials.
    fn open(
        &mut self,
        target: &Target,
        failures: u32,
    ) -> Result<Result<Connected, AttemptError>, Interruption> {
        let dialer = match self.course.begin(target, failures) {
            Ok(dialer) => dialer,
            Err(error) => return Ok(Err(error.into())),
        };
        let credentials = match self.credentials()? {
            Ok(credentials) => credentials,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = self.course.prepare(target, credentials) {
            return Ok(Err(error.into()));
        }
        let dialer = match dialer.build_blocking() {
            Ok(dialer) => dialer,
            Err(error) => return Ok(Err(unusable(error).into())),
        };
        let (course, waker) = (&self.course, &self.waker);
        let mut interruption = None;
        let mut is_over = || {
            interruption = course.tend();
            course.shared.with(|inner| inner.park_offline(waker));
            interruption.is_some()
        };
        let dialed = dialer.dial(&mut self.waiter, &mut is_over);
        match (dialed, interruption) {
            (Err(TransportError::Cancelled { .. }), Some(interruption)) => Err(interruption),
            (dialed, _) => Ok(dialed.map_err(AttemptError::from)),
        }
    }

    /// Asks for credentials, if somebody gives them.
    fn credentials(
        &mut self,
    ) -> Result<Result<Option<Credentials>, CredentialsError>, Interruption> {
        let Some(provider) = self.course.provider.clone() else { return Ok(Ok(None)) };
        let after = self.course.credentials_timeout;
        let until = after.map(|after| Instant::now() + after.min(FAR));
        let mut clerk = mem::take(&mut self.clerk);
        let asked = poll_fn(|context| clerk.poll(&provider, context.waker()));
        let given = self.meanwhile(asked, until);
        clerk.give_up();
        self.clerk = clerk;
        match (given?, after) {
            (Some(given), _) => Ok(given.map(Some).map_err(CredentialsError::Failed)),
            (None, after) => Ok(Err(CredentialsError::TimedOut { after: after.unwrap_or(FAR) })),
        }
    }

    /// Serves a connection until it has ended.
    fn serve(&mut self, mut stream: BoxedTransport) -> Arc<Ended> {
        self.course.up();
        let mut connection = Connection::new().observed(&self.course);
        let end = loop {
            self.ask_method();
            match connection.turn(&mut self.course, &mut Polled(&mut stream), &self.waker) {
                Turn::Over(end) => break end,
                Turn::Again => {}
                Turn::Rest(_) if self.ask_method() => {}
                Turn::Rest(deadline) => {
                    if self.wait(deadline).is_err() {
                        break TransportEnd::Failed;
                    }
                }
            }
        };
        if connection.is_written() {
            self.say_goodbye(&mut stream);
        }
        self.course.down(end, connection.finish());
        self.until(Course::poll_told);
        self.course.ended(end)
    }

    /// Has an own method of authentication do what it is to do. Whether there was anything.
    fn ask_method(&self) -> bool {
        let mut has_done = false;
        while let Some(step) = self.course.authentication_step() {
            self.course.authenticated(step.take());
            has_done = true;
        }
        has_done
    }

    /// Waits until something is ready that rings.
    fn until(&mut self, poll: impl Fn(&Course, &Waker) -> Poll<()>) {
        while poll(&self.course, &self.waker).is_pending() {
            if self.wait(None).is_err() {
                return;
            }
        }
    }

    /// Lets the other side know, if that does not take long.
    fn say_goodbye(&mut self, stream: &mut BoxedTransport) {
        let deadline = Instant::now() + GOODBYE;
        while Instant::now() < deadline {
            match stream.flush().and_then(|()| stream.shutdown()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.wait(Some(deadline)).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.waiter.wait(timeout)
    }

    /// Waits for a time without a connection, and looks after the session meanwhile.
    fn pause(&mut self, until: Instant) -> Result<(), Interruption> {
        while Instant::now() < until && !self.course.is_hurried() {
            self.rest(Some(until))?;
        }
        Ok(())
    }

    /// Waits for something of the user's, and looks after the session meanwhile. `None` if it takes
    /// too long.
    fn meanwhile<T>(
        &mut self,
        awaited: impl Future<Output = T>,
        until: Option<Instant>,
    ) -> Result<Option<T>, Interruption> {
        let mut awaited = pin!(awaited);
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = awaited.as_mut().poll(&mut context) {
                return Ok(Some(result));
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(None);
            }
            self.rest(until)?;
        }
    }

    /// Waits once, without a connection.
    fn rest(&mut self, until: Option<Instant>) -> Result<(), Interruption> {
        self.course.tend().map_or(Ok(()), Err)?;
        let shared = &self.course.shared;
        let deadline = shared.with(|inner| {
            inner.park_offline(&self.waker);
            let deadline = inner.hub.poll_timeout();
            earlier(deadline.map(|at| shared.instant(at)), inner.end_due())
        });
        // It fails only if the system is in a state in which nothing can be waited for.
        self.wait(earlier(deadline, until)).map_err(|_| Interruption::Over)?;
        self.course.tend().map_or(Ok(()), Err)
    }
}

/// A transport that says when it would block.
struct Polled<'a>(&'a mut BoxedTransport);

fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

impl Line for Polled<'_> {
    fn poll_read(&mut self, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        polled(loop {
            match self.0.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        })
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        polled(self.0.write(bytes))
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        polled(self.0.flush())
    }
}
