//! Carries a client's course out as a task.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use noctule_client_core::{Ended, Target, TransportEnd};
use noctule_transport::{BoxedStream, Connected, TransportError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep_until, timeout};

use crate::connection::{Connection, GOODBYE, Line, Turn};
use crate::course::{Course, Next, unusable};
use crate::error::StopReason;
use crate::shared::earlier;
use crate::task::alarm::Alarm;
use crate::task::method::Method;

/// The client is to end.
struct Over;

/// Does everything until the client has ended.
pub(crate) async fn run(mut course: Course) {
    let (mut next, mut method) = (course.first(), Method::default());
    let reason = loop {
        let (at, target, failures) = match next {
            Next::Attempt { at, target, failures } => (at, target, failures),
            Next::End(reason) => break reason,
        };
        if let Some(delay) = course.pause(at) {
            let until = tokio::time::Instant::now() + delay;
            let mut sleep = pin!(sleep_until(until));
            let pause = poll_fn(|context| match course.is_hurried() {
                true => Poll::Ready(()),
                false => sleep.as_mut().poll(context),
            });
            if meanwhile(&course, pause).await.is_err() {
                break StopReason::ShutDown;
            }
        }
        let ended = match open(&mut course, &target, failures).await {
            Ok(Ok(connected)) => serve(&mut course, &mut method, connected.stream).await,
            Ok(Err(error)) => course.failed(error),
            Err(Over) => break StopReason::ShutDown,
        };
        next = course.after(&ended);
    };
    poll_fn(|context| course.poll_kept(context.waker())).await;
    course.close(&reason);
    poll_fn(|context| course.poll_left(context.waker())).await;
    course.finish(reason);
}

/// Opens the transport, with fresh credentials.
async fn open(
    course: &mut Course,
    target: &Target,
    failures: u32,
) -> Result<Result<Connected, TransportError>, Over> {
    let dialer = match course.begin(target, failures) {
        Ok(dialer) => dialer,
        Err(error) => return Ok(Err(error)),
    };
    let credentials = match course.provider.clone() {
        None => None,
        Some(provider) => match meanwhile(course, provider.credentials()).await? {
            Ok(credentials) => Some(credentials),
            Err(error) => return Ok(Err(unusable(error))),
        },
    };
    if let Err(error) = course.prepare(target, credentials) {
        return Ok(Err(error));
    }
    match dialer.build() {
        Ok(dialer) => meanwhile(course, dialer.dial()).await,
        Err(error) => Ok(Err(unusable(error))),
    }
}

/// Serves a connection until it has ended.
async fn serve(course: &mut Course, method: &mut Method, mut stream: BoxedStream) -> Arc<Ended> {
    course.up();
    let (mut connection, mut alarm) = (Connection::new().observed(course), Alarm::default());
    let end = poll_fn(|context| {
        method.poll(course, context);
        let end = serve_turn(course, &mut connection, &mut stream, &mut alarm, context);
        if end.is_pending() && method.poll(course, context) {
            context.waker().wake_by_ref();
        }
        end
    })
    .await;
    if connection.is_written() {
        // Whatever it says, nobody is there to hear it.
        let farewell = poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context));
        let _ = timeout(GOODBYE, farewell).await;
    }
    course.down(end, connection.finish());
    poll_fn(|context| course.poll_told(context.waker())).await;
    course.ended(end)
}

fn serve_turn(
    course: &mut Course,
    connection: &mut Connection,
    stream: &mut BoxedStream,
    alarm: &mut Alarm,
    context: &mut Context<'_>,
) -> Poll<TransportEnd> {
    let waker = context.waker().clone();
    let turn = connection.turn(course, &mut AsyncLine { stream, context }, &waker);
    match turn {
        Turn::Over(end) => Poll::Ready(end),
        Turn::Rest(deadline) => {
            alarm.set(deadline);
            if pin!(alarm).poll(context).is_ready() {
                waker.wake();
            }
            Poll::Pending
        }
        Turn::Again => {
            waker.wake();
            Poll::Pending
        }
    }
}

/// A stream, and the task that is woken when it is ready.
struct AsyncLine<'a, 'b> {
    stream: &'a mut BoxedStream,
    context: &'a mut Context<'b>,
}

impl Line for AsyncLine<'_, '_> {
    fn poll_read(&mut self, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        Pin::new(&mut *self.stream)
            .poll_read(self.context, &mut buffer)
            .map_ok(|()| buffer.filled().len())
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(self.context, bytes)
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(self.context)
    }
}

/// Waits for something without a connection, and looks after the session meanwhile.
async fn meanwhile<T>(course: &Course, awaited: impl Future<Output = T>) -> Result<T, Over> {
    let mut awaited = pin!(awaited);
    let mut alarm = Alarm::default();
    poll_fn(|context| {
        loop {
            if course.tend() {
                return Poll::Ready(Err(Over));
            }
            let deadline = course.shared.with(|inner| {
                inner.park(context.waker());
                let deadline = inner.hub.poll_timeout();
                earlier(deadline.map(|at| course.shared.instant(at)), inner.end_due())
            });
            if let Poll::Ready(result) = awaited.as_mut().poll(context) {
                return Poll::Ready(Ok(result));
            }
            alarm.set(deadline);
            if pin!(&mut alarm).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}
