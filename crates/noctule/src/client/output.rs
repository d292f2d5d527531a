//! Standard output, written by a thread of its own: whoever reads slowly keeps nothing waiting but
//! the next message.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::failure::Failure;

type Job = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    jobs: mpsc::SyncSender<Job>,
}

/// Why nothing more is written.
#[derive(Debug)]
pub(crate) enum OutputError {
    /// Whoever reads has read enough.
    Closed,
    /// Something else.
    Failed(io::Error),
}

impl Output {
    pub(crate) fn start() -> Result<Self, Failure> {
        let (jobs, todo) = mpsc::sync_channel::<Job>(1);
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                let mut stdout = io::stdout();
                for (bytes, done) in todo {
                    let result = stdout.write_all(&bytes).and_then(|()| stdout.flush());
                    // If nobody waits any more, nobody needs to know.
                    let _ = done.send(result);
                }
            })
            .map_err(|error| Failure::local("cannot start a thread", &error))?;
        Ok(Self { jobs })
    }

    /// Writes bytes, and waits until the operating system has them.
    pub(crate) async fn write(&self, bytes: Vec<u8>) -> Result<(), OutputError> {
        let (done, is_done) = oneshot::channel();
        let gone = || OutputError::Failed(io::ErrorKind::BrokenPipe.into());
        // One job at a time, so there is room for it.
        self.jobs.try_send((bytes, done)).map_err(|_| gone())?;
        match is_done.await.map_err(|_| gone())? {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputError::Closed),
            Err(error) => Err(OutputError::Failed(error)),
        }
    }
}
