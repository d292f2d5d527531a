//! Standard input as lines, read by a thread of its own, and never further ahead than a little.

use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc;

use super::failure::{Failure, Status};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1_024;
/// How many chunks are read ahead.
const CHUNKS_AHEAD: usize = 2;
/// The longest line, so that what is read and what waits to be sent stays small.
const LINE_BYTES_MAX: usize = 15 * 1_024 * 1_024;

/// Standard input as lines.
#[derive(Debug)]
pub(crate) struct Lines {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// What was read; `unread[start..]` was not taken.
    unread: Vec<u8>,
    start: usize,
    /// Up to where there is no end of a line.
    searched: usize,
    is_over: bool,
}

impl Lines {
    /// The lines of standard input.
    pub(crate) fn of_stdin() -> Result<Self, Failure> {
        Self::of(io::stdin())
    }

    fn of(mut source: impl Read + Send + 'static) -> Result<Self, Failure> {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                loop {
                    let mut chunk = vec![0; CHUNK_BYTES];
                    let result = match source.read(&mut chunk) {
                        Ok(0) => return,
                        Ok(count) => {
                            chunk.truncate(count);
                            Ok(chunk)
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => Err(error),
                    };
                    let is_last = result.is_err();
                    if sender.blocking_send(result).is_err() || is_last {
                        return;
                    }
                }
            })
            .map_err(|error| Failure::local("cannot start a thread", &error))?;
        Ok(Self { chunks, unread: Vec::new(), start: 0, searched: 0, is_over: false })
    }

    /// The next line without its end; `None` behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let rest = self.unread.get(self.searched..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|&byte| byte == b'\n') {
                let end = self.searched + length;
                let line = self.unread.get(self.start..end).unwrap_or_default().to_vec();
                (self.start, self.searched) = (end + 1, end + 1);
                return Ok(Some(line));
            }
            if self.is_over {
                let line = self.unread.split_off(self.start.min(self.unread.len()));
                (self.start, self.searched) = (0, 0);
                self.unread.clear();
                return Ok(Some(line).filter(|line| !line.is_empty()));
            }
            self.unread.drain(..self.start);
            (self.start, self.searched) = (0, self.unread.len());
            if self.unread.len() > LINE_BYTES_MAX {
                let message =
                    format!("a line has more than {LINE_BYTES_MAX} bytes: send it with -s");
                return Err(Failure::new(Status::Local, message));
            }
            match self.chunks.recv().await {
                Some(Ok(chunk)) => self.unread.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(Failure::local("cannot read the input", &error)),
                None => self.is_over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &'static [u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::of(input).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(line);
        }
        assert_eq!(lines.next().await.unwrap(), None);
        found
    }

    #[tokio::test]
    async fn lines_are_what_stands_between_line_ends() {
        assert_eq!(all(b"a\n\n\xff\r\nlast").await, [&b"a"[..], b"", b"\xff\r", b"last"]);
        assert_eq!(all(b"a\n").await, [b"a"]);
        assert!(all(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_may_be_longer_than_what_is_read_at_once() {
        let long: &'static [u8] = vec![b'x'; 3 * CHUNK_BYTES + 7].leak();
        let mut lines = Lines::of(long.chain(&b"\nb"[..])).unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), long);
        assert_eq!(lines.next().await.unwrap().unwrap(), b"b");
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
