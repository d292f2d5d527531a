//! The record of a conversation that a failed expectation shows.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// So many lines from the beginning are always shown.
const FIRST_LINES: usize = 200;
/// So many lines before the failure are always shown. A test that exchanges a hundred thousand
/// messages would otherwise bury its failure, and its memory, under them.
const LAST_LINES: usize = 1_800;

/// Which way a line of the transcript went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    Received,
    /// Something that happened to the connection.
    Event,
}

impl Direction {
    const fn mark(self) -> char {
        match self {
            Direction::Sent => '>',
            Direction::Received => '<',
            Direction::Event => '=',
        }
    }
}

/// What was said so far, one line for each packet.
#[derive(Debug)]
pub(crate) struct Transcript {
    start: Instant,
    first: Vec<Line>,
    last: VecDeque<Line>,
    left_out: usize,
}

#[derive(Debug)]
struct Line {
    at: Duration,
    mark: char,
    text: String,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Transcript { start: Instant::now(), first: Vec::new(), last: VecDeque::new(), left_out: 0 }
    }

    pub(crate) fn add(&mut self, direction: Direction, text: String) {
        self.add_at(self.start.elapsed(), direction.mark(), text);
    }

    /// Adds a line at a time on another clock.
    pub(crate) fn add_at(&mut self, at: Duration, mark: char, text: String) {
        let line = Line { at, mark, text };
        if self.first.len() < FIRST_LINES {
            self.first.push(line);
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line);
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conversation (seconds, > sent, < received):")?;
        self.first.iter().try_for_each(|line| line.fmt(f))?;
        if self.left_out > 0 {
            writeln!(f, "           … {} lines left out …", self.left_out)?;
        }
        self.last.iter().try_for_each(|line| line.fmt(f))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, mark) = (self.at.as_secs_f64(), self.mark);
        writeln!(f, "{at:10.4} {mark} {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_conversation_keeps_its_beginning_and_its_end() {
        let mut transcript = Transcript::new();
        let lines = FIRST_LINES + LAST_LINES + 5;
        for number in 0..lines {
            transcript.add(Direction::Sent, format!("line {number}."));
        }
        let shown = transcript.to_string();
        assert!(shown.contains("> line 0."), "{shown}");
        assert!(shown.contains(&format!("> line {}.", FIRST_LINES - 1)));
        assert!(shown.contains("… 5 lines left out …"));
        assert!(!shown.contains(&format!("> line {}.", FIRST_LINES)));
        assert!(!shown.contains(&format!("> line {}.", FIRST_LINES + 4)));
        assert!(shown.contains(&format!("> line {}.", FIRST_LINES + 5)));
        assert!(shown.ends_with(&format!("> line {}.\n", lines - 1)));
    }
}
