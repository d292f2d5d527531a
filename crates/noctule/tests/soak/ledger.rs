//! What was published, how it ended and what has arrived, forgotten as soon as that is settled: a
//! run that is long takes no more memory than a short one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use noctule_client::{Outcome, QoS};

use crate::{END, qos};

/// How many messages may be open at once.
const OPEN_MAX: usize = 100;

/// The messages of one publisher.
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    next: u64,
    open: BTreeMap<u64, Message>,
    is_begun: bool,
    is_closed: bool,
    arrived: u64,
    again: u64,
    /// Messages of QoS 0 whose connection was gone.
    gone: u64,
    wrong: Vec<String>,
    /// When all was known of a message last.
    settled: Option<Instant>,
}

/// A message of which not everything is known.
#[derive(Default)]
struct Message {
    has_ended: bool,
    arrivals: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nobody panics with it")
    }

    /// Somebody gets the messages now.
    pub(crate) fn open(&self) {
        self.book().is_begun = true;
    }

    /// The number of another message, if there is to be one now.
    pub(crate) fn begin(&self) -> Option<u64> {
        let mut book = self.book();
        if !book.is_begun || book.is_closed || book.open.len() >= OPEN_MAX {
            return None;
        }
        let number = book.next;
        book.next += 1;
        book.open.insert(number, Message::default());
        Some(number)
    }

    /// The receipt of a message has ended.
    pub(crate) fn ended(&self, number: u64, outcome: &Outcome) {
        let mut book = self.book();
        let is_delivered = matches!(outcome, Outcome::Delivered { .. });
        if qos(number) == QoS::AtMostOnce {
            book.gone += u64::from(!is_delivered);
        } else if !is_delivered {
            book.wrong.push(format!("{number} has ended as {outcome}"));
        }
        match book.open.get_mut(&number) {
            Some(message) if !message.has_ended => message.has_ended = true,
            _ => book.wrong.push(format!("{number} has ended twice")),
        }
        book.settle(number);
    }

    /// A message has come to the other side.
    pub(crate) fn arrived(&self, payload: &[u8]) {
        let mut book = self.book();
        let Some(number) = payload.first_chunk().copied().map(u64::from_le_bytes) else {
            return book.wrong.push("a message has arrived that nobody has sent".to_owned());
        };
        if payload != crate::payload(number) || number >= book.next {
            return book.wrong.push(format!("{number} has arrived as nobody has sent it"));
        }
        let before = match book.open.get_mut(&number) {
            Some(message) => std::mem::replace(&mut message.arrivals, 1),
            // All is known of it, so it has arrived, unless it did not have to.
            None => u64::from(qos(number) != QoS::AtMostOnce),
        };
        book.arrived += 1 - before;
        book.again += before;
        if before > 0 && qos(number) == QoS::ExactlyOnce {
            book.wrong.push(format!("{number}, of QoS 2, has arrived twice"));
        }
        book.settle(number);
    }

    /// There are to be no more.
    pub(crate) fn close(&self) {
        self.book().is_closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.book().is_closed
    }

    /// Whether all is known of every message.
    pub(crate) fn is_even(&self) -> bool {
        self.book().open.is_empty()
    }

    pub(crate) fn messages(&self) -> u64 {
        self.book().next
    }

    /// Fails if something is wrong.
    #[track_caller]
    pub(crate) fn check(&self) {
        let book = self.book();
        let (wrong, silence) = (book.wrong.clone(), book.settled.map(|at| at.elapsed()));
        let stands = !book.open.is_empty() && silence.is_some_and(|silence| silence > END);
        // The others go on with it until the process ends.
        drop(book);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(!stands, "it stands still: {}", self.report());
    }

    pub(crate) fn report(&self) -> String {
        let book = self.book();
        let Book { next, arrived, again, gone, .. } = &*book;
        let few = book.open.iter().take(10);
        let open: Vec<_> = few.map(|(number, it)| (number, it.has_ended, it.arrivals)).collect();
        format!(
            "{next} messages, {arrived} arrived, {again} of QoS 0 or 1 again, {gone} of QoS 0 \
             gone; open (number, has ended, arrivals): {open:?}"
        )
    }
}

impl Book {
    fn settle(&mut self, number: u64) {
        let is_settled = self.open.get(&number).is_some_and(|message| {
            message.has_ended && (message.arrivals > 0 || qos(number) == QoS::AtMostOnce)
        });
        if is_settled {
            self.open.remove(&number);
            self.settled = Some(Instant::now());
        }
    }
}
