//! What a test broker has to say on one connection, and when.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

/// One thing to be done with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Bytes to be sent.
    Bytes(Vec<u8>),
    /// The orderly end.
    End,
    /// The end without order.
    Reset,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now(Chunk),
    /// At this time on the broker's clock.
    At(Duration),
    /// Not before something else happens.
    Never,
}

/// What is to be sent on one connection, in the order of its time.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    chunks: VecDeque<(Duration, Chunk)>,
    /// Nothing may be sent before that: it would overtake CONNACK.
    floor: Duration,
    /// Whether nothing more may be said.
    is_over: bool,
    reader: Option<Waker>,
}

impl Outlet {
    /// Adds bytes behind everything that is due at the same time or earlier. Whoever waits for them
    /// is returned.
    pub(crate) fn push(&mut self, at: Duration, bytes: Vec<u8>) -> Option<Waker> {
        if self.is_over {
            return None;
        }
        let at = at.max(self.floor);
        let place = self.chunks.partition_point(|(due, _)| *due <= at);
        self.chunks.insert(place, (at, Chunk::Bytes(bytes)));
        self.reader.take()
    }

    /// Lets nothing that is added from now on come before this time.
    pub(crate) fn hold_until(&mut self, at: Duration) {
        self.floor = self.floor.max(at);
    }

    /// Adds the end behind everything.
    pub(crate) fn end(&mut self, now: Duration) -> Option<Waker> {
        if self.is_over {
            return None;
        }
        self.is_over = true;
        let last = self.chunks.back().map_or(now, |(due, _)| now.max(*due));
        self.chunks.push_back((last, Chunk::End));
        self.reader.take()
    }

    /// Ends the connection at once; what was not sent yet is lost.
    pub(crate) fn reset(&mut self, now: Duration) -> Option<Waker> {
        self.is_over = true;
        self.chunks.clear();
        self.chunks.push_back((now, Chunk::Reset));
        self.reader.take()
    }

    /// Whether the broker has ended the connection.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes the next thing that is due.
    pub(crate) fn take(&mut self, now: Duration) -> Due {
        match self.chunks.pop_front() {
            Some((due, chunk)) if due <= now => Due::Now(chunk),
            Some((due, chunk)) => {
                self.chunks.push_front((due, chunk));
                Due::At(due)
            }
            None => Due::Never,
        }
    }

    /// Somebody waits for the next thing.
    #[cfg(any(feature = "tokio", feature = "client-core"))]
    pub(crate) fn wait(&mut self, reader: &Waker) {
        self.reader = Some(reader.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn take(outlet: &mut Outlet, now: u64) -> Due {
        outlet.take(at(now))
    }

    #[test]
    fn what_is_delayed_is_overtaken() {
        let mut outlet = Outlet::default();
        outlet.push(at(5), vec![5]);
        outlet.push(at(0), vec![0]);
        outlet.push(at(5), vec![6]);
        assert_eq!(take(&mut outlet, 1), Due::Now(Chunk::Bytes(vec![0])));
        assert_eq!(take(&mut outlet, 1), Due::At(at(5)));
        assert_eq!(take(&mut outlet, 5), Due::Now(Chunk::Bytes(vec![5])));
        assert_eq!(take(&mut outlet, 5), Due::Now(Chunk::Bytes(vec![6])));
        assert_eq!(take(&mut outlet, 5), Due::Never);
    }

    #[test]
    fn nothing_comes_before_the_floor_or_behind_the_end() {
        let mut outlet = Outlet::default();
        outlet.push(at(3), vec![1]);
        outlet.hold_until(at(3));
        outlet.push(at(0), vec![2]);
        outlet.end(at(0));
        outlet.push(at(0), vec![3]);
        assert_eq!(take(&mut outlet, 0), Due::At(at(3)));
        assert_eq!(take(&mut outlet, 3), Due::Now(Chunk::Bytes(vec![1])));
        assert_eq!(take(&mut outlet, 3), Due::Now(Chunk::Bytes(vec![2])));
        assert_eq!(take(&mut outlet, 3), Due::Now(Chunk::End));
        assert_eq!(take(&mut outlet, 3), Due::Never);
    }

    #[test]
    fn a_reset_loses_what_was_not_sent() {
        let mut outlet = Outlet::default();
        outlet.push(at(0), vec![1]);
        outlet.reset(at(0));
        assert_eq!(take(&mut outlet, 0), Due::Now(Chunk::Reset));
        assert!(outlet.is_over());
    }
}
