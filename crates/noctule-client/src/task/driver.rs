//! Carries a client's course out as a task.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use noctule_client_core::{Ended, Target};

use crate::attempt::AttemptError;
use crate::clock;
use crate::connection::{Connection, GOODBYE, Line, Turn};
use crate::course::{Course, Interruption, Next};
use crate::credentials::{Credentials, CredentialsError};
use crate::error::StopReason;
use crate::shared::{FAR, earlier};
use crate::task::alarm::Alarm;
use crate::task::ground::{Ground, Stream, within};
use crate::task::method::Method;
use crate::wait::Driving;

/// Does everything until the client has ended.
pub(crate) async fn run(course: Course, ground: impl Ground) {
    let mut work = pin!(carry_out(course, ground));
    poll_fn(|context| {
        let _driving = Driving::begin();
        work.as_mut().poll(context)
    })
    .await;
}

async fn carry_out(mut course: Course, ground: impl Ground) {
    let (mut next, mut method) = (course.first(), Method::default());
    let reason = loop {
        let (at, target, failures) = match next {
            Next::Attempt { at, target, failures } => (at, target, failures),
            Next::Rest => {
                course.rest();
                match meanwhile(&ground, &course, pending::<Infallible>()).await {
                    Ok(never) => match never {},
                    Err(Interruption::Over) => break StopReason::ShutDown,
                    Err(Interruption::Wish) => next = course.as_wished(),
                }
                continue;
            }
            Next::End(reason) => break reason,
        };
        if let Some(delay) = course.pause(at) {
            let mut sleep = ground.sleep_until(clock::now() + delay);
            let pause = poll_fn(|context| match course.is_hurried() {
                true => Poll::Ready(()),
                false => sleep.as_mut().poll(context),
            });
            match meanwhile(&ground, &course, pause).await {
                Ok(()) => {}
                Err(Interruption::Over) => break StopReason::ShutDown,
                Err(Interruption::Wish) => {
                    next = course.as_wished();
                    continue;
                }
            }
        }
        next = match open(&ground, &mut course, &target, failures).await {
            Ok(Ok(stream)) => {
                let ended = serve(&ground, &mut course, &mut method, stream).await;
                course.after(&ended)
            }
            Ok(Err(error)) => {
                let ended = course.failed(error);
                course.after(&ended)
            }
            Err(Interruption::Over) => break StopReason::ShutDown,
            Err(Interruption::Wish) => course.as_wished(),
        };
    };
    poll_fn(|context| course.poll_kept(context.waker())).await;
    course.close(&reason);
    poll_fn(|context| course.poll_left(context.waker())).await;
    course.finish(reason);
}

/// Opens the transport, with fresh credentials.
async fn open<G: Ground>(
    ground: &G,
    course: &mut Course,
    target: &Target,
    failures: u32,
) -> Result<Result<G::Stream, AttemptError>, Interruption> {
    let dialer = match course.begin(target, failures) {
        Ok(dialer) => dialer,
        Err(error) => return Ok(Err(error.into())),
    };
    let credentials = match credentials(ground, course).await? {
        Ok(credentials) => credentials,
        Err(error) => return Ok(Err(error.into())),
    };
    if let Err(error) = course.prepare(target, credentials) {
        return Ok(Err(error.into()));
    }
    let dialed = meanwhile(ground, course, ground.dial(dialer)).await?;
    Ok(dialed.map_err(AttemptError::from))
}

/// Asks for credentials, if somebody gives them.
async fn credentials(
    ground: &impl Ground,
    course: &Course,
) -> Result<Result<Option<Credentials>, CredentialsError>, Interruption> {
    let Some(provider) = course.provider.clone() else { return Ok(Ok(None)) };
    let given = match course.credentials_timeout {
        None => meanwhile(ground, course, provider.credentials()).await?,
        Some(after) => {
            let time = ground.sleep_until(clock::now() + after.min(FAR));
            match meanwhile(ground, course, within(time, provider.credentials())).await? {
                Some(given) => given,
                None => return Ok(Err(CredentialsError::TimedOut { after })),
            }
        }
    };
    Ok(given.map(Some).map_err(CredentialsError::Failed))
}

/// Serves a connection until it has ended.
async fn serve<G: Ground>(
    ground: &G,
    course: &mut Course,
    method: &mut Method,
    mut stream: G::Stream,
) -> Arc<Ended> {
    course.up();
    let (mut connection, mut alarm) = (Connection::new().observed(course), Alarm::default());
    let end = poll_fn(|context| {
        method.poll(ground, course, context);
        let waker = context.waker().clone();
        let mut line = AsyncLine { stream: &mut stream, context };
        let end = match connection.turn(course, &mut line, &waker) {
            Turn::Over(end) => Poll::Ready(end),
            Turn::Rest(deadline) => {
                if alarm.poll(ground, deadline, context).is_ready() {
                    waker.wake();
                }
                Poll::Pending
            }
            Turn::Again => {
                waker.wake();
                Poll::Pending
            }
        };
        if end.is_pending() && method.poll(ground, course, context) {
            context.waker().wake_by_ref();
        }
        end
    })
    .await;
    if connection.is_written() {
        // Whatever it says, nobody is there to hear it.
        let farewell = poll_fn(|context| stream.poll_close(context));
        let _ = within(ground.sleep_until(clock::now() + GOODBYE), farewell).await;
    }
    course.down(end, connection.finish());
    poll_fn(|context| course.poll_told(context.waker())).await;
    course.ended(end)
}

/// A stream, and the task that is woken when it is ready.
struct AsyncLine<'a, 'b, S> {
    stream: &'a mut S,
    context: &'a mut Context<'b>,
}

impl<S: Stream> Line for AsyncLine<'_, '_, S> {
    fn poll_read(&mut self, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_read(self.context, bytes)
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(self.context, bytes)
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        self.stream.poll_flush(self.context)
    }
}

/// Waits for something without a connection, and looks after the session meanwhile.
async fn meanwhile<T>(
    ground: &impl Ground,
    course: &Course,
    awaited: impl Future<Output = T>,
) -> Result<T, Interruption> {
    let mut awaited = pin!(awaited);
    let mut alarm = Alarm::default();
    poll_fn(|context| {
        loop {
            if let Some(interruption) = course.tend() {
                return Poll::Ready(Err(interruption));
            }
            let deadline = course.shared.with(|inner| {
                inner.park_offline(context.waker());
                let deadline = inner.hub.poll_timeout();
                earlier(deadline.map(|at| course.shared.instant(at)), inner.end_due())
            });
            if let Poll::Ready(result) = awaited.as_mut().poll(context) {
                return Poll::Ready(Ok(result));
            }
            if alarm.poll(ground, deadline, context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}
