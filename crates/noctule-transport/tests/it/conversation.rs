//! One conversation with a server that echoes, led by tokio and by a plain thread.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use noctule_transport::blocking::{self, BoxedTransport, Waiter};
use noctule_transport::{BoxedStream, ConnectionInfo, DialerBuilder, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What every conversation is over by.
const LIMIT: Duration = Duration::from_secs(10);

/// What came of one attempt.
pub(crate) type Outcome = Result<ConnectionInfo, TransportError>;

/// Which of the two leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Tokio,
    Thread,
}

pub(crate) const FRONTS: [Front; 2] = [Front::Tokio, Front::Thread];

/// Bytes that are never the same at two places near each other.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index * 31) ^ (index >> 8)).to_le_bytes()[0]).collect()
}

/// Connects both ways and lets `check` judge.
#[track_caller]
pub(crate) fn on_both(builder: &DialerBuilder, mut check: impl FnMut(Outcome)) {
    for front in FRONTS {
        check(front.converse(builder, &bytes(100_000)));
    }
}

/// Connects both ways, which has to fail; the error's text.
#[track_caller]
pub(crate) fn refused_by_both(builder: &DialerBuilder, check: impl Fn(&TransportError)) -> String {
    let mut text = String::new();
    on_both(builder, |outcome| {
        let error = outcome.unwrap_err();
        check(&error);
        text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
    });
    text
}

impl Front {
    /// Connects, sends bytes, reads them back, and says goodbye.
    pub(crate) fn converse(self, builder: &DialerBuilder, bytes: &[u8]) -> Outcome {
        match self {
            Self::Tokio => runtime().block_on(async {
                let connected = builder.build().unwrap().dial().await?;
                echo_async(connected.stream, bytes.to_vec()).await;
                Ok(connected.info)
            }),
            Self::Thread => {
                let mut waiter = Waiter::new().unwrap();
                let connected = dial(builder, &mut waiter)?;
                echo_blocking(connected.stream, &mut waiter, bytes);
                Ok(connected.info)
            }
        }
    }

    /// Connects, and answers each of the texts that have to come with a byte.
    pub(crate) fn alternate(self, builder: &DialerBuilder, texts: &[&[u8; 5]]) {
        match self {
            Self::Tokio => runtime().block_on(async {
                let mut stream = builder.build().unwrap().dial().await.unwrap().stream;
                for text in texts {
                    let mut received = [0; 5];
                    let reading = stream.read_exact(&mut received);
                    tokio::time::timeout(LIMIT, reading).await.unwrap().unwrap();
                    assert_eq!(received, **text);
                    stream.write_all(b"!").await.unwrap();
                    stream.flush().await.unwrap();
                }
            }),
            Self::Thread => {
                let mut waiter = Waiter::new().unwrap();
                let mut stream = dial(builder, &mut waiter).unwrap().stream;
                let start = Instant::now();
                for text in texts {
                    let (mut received, mut length) = ([0; 5], 0);
                    while length < received.len() {
                        match ready(stream.read(&mut received[length..])) {
                            Some(0) => panic!("it has ended"),
                            Some(more) => length += more,
                            None => {
                                assert!(start.elapsed() < LIMIT, "{length} bytes have come");
                                waiter.wait(Some(LIMIT)).unwrap();
                            }
                        }
                    }
                    assert_eq!(received, **text);
                    assert_eq!(stream.write(b"!").unwrap(), 1);
                    stream.flush().unwrap();
                }
            }
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn dial(
    builder: &DialerBuilder,
    waiter: &mut Waiter,
) -> Result<blocking::Connected, TransportError> {
    builder.build_blocking().unwrap().dial(waiter, &mut || false)
}

/// One task writes and another reads.
pub(crate) async fn echo_async(stream: BoxedStream, bytes: Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let expected = bytes.clone();
    let writing = tokio::spawn(async move {
        for part in bytes.chunks(30_000) {
            writer.write_all(part).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer
    });
    let both = async {
        let mut echoed = vec![0; expected.len()];
        reader.read_exact(&mut echoed).await.unwrap();
        assert!(echoed == expected, "the bytes came back changed");
        let mut writer = writing.await.unwrap();
        writer.shutdown().await.unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    };
    tokio::time::timeout(LIMIT, both).await.unwrap();
}

/// One thread does both, and waits only when both would block.
pub(crate) fn echo_blocking(mut stream: BoxedTransport, waiter: &mut Waiter, bytes: &[u8]) {
    let (mut written, mut echoed) = (0, Vec::new());
    let mut is_ended = false;
    while !is_ended {
        let mut must_wait = true;
        if written < bytes.len() {
            let end = bytes.len().min(written + 30_000);
            if let Some(length) = ready(stream.write(&bytes[written..end])) {
                written += length;
                must_wait = false;
            }
        } else if echoed.len() < bytes.len() {
            ready(stream.flush());
        } else {
            ready(stream.shutdown());
        }
        let mut buffer = [0; 10_000];
        if let Some(length) = ready(stream.read(&mut buffer)) {
            echoed.extend_from_slice(&buffer[..length]);
            must_wait = false;
            is_ended = length == 0;
        }
        if must_wait {
            waiter.wait(Some(LIMIT)).unwrap();
        }
    }
    assert!(echoed == bytes, "the bytes came back changed: {} {}", echoed.len(), bytes.len());
}

fn ready<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result.unwrap()),
    }
}
