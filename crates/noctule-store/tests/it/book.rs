//! A log of numbers, with what was promised of it.

use noctule_store::{Batch, Disk, Log, LogSettings, Repair, SimulatedDisk, StoreError, Summary};

pub(crate) const SETTINGS: LogSettings =
    LogSettings { content: 7, segment_bytes: 300, free_segments_max: 0 };

/// A log of numbers, and those that count.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) log: Log,
    pub(crate) live: Vec<u32>,
    pub(crate) summary: Summary,
    batch: Batch,
    in_batch: Vec<u32>,
}

impl Book {
    pub(crate) fn open(disk: impl Disk + 'static) -> Result<Self, StoreError> {
        Self::open_with(disk, Repair::Salvage)
    }

    pub(crate) fn open_with(disk: impl Disk + 'static, repair: Repair) -> Result<Self, StoreError> {
        let mut live = Vec::new();
        let (log, summary) = Log::open(Box::new(disk), SETTINGS, repair, |record| {
            let digits = record.bytes.first_chunk().ok_or("a record that is no number")?;
            live.push(u32::from_le_bytes(*digits));
            Ok(())
        })?;
        Ok(Self { log, live, summary, batch: Batch::new(), in_batch: Vec::new() })
    }

    /// Puts a number into the batch, with some more bytes, so that records differ in size.
    pub(crate) fn put(&mut self, number: u32) {
        self.batch.push(|out| write(&number, out)).expect("it fits");
        self.in_batch.push(number);
    }

    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.log.commit(&mut self.batch)?;
        self.live.append(&mut self.in_batch);
        Ok(())
    }

    pub(crate) fn append(&mut self, number: u32) -> Result<(), StoreError> {
        self.put(number);
        self.commit()
    }

    /// Keeps only those numbers.
    pub(crate) fn keep(&mut self, keep: impl Fn(u32) -> bool) -> Result<(), StoreError> {
        let mut kept = self.live.clone();
        kept.retain(|number| keep(*number));
        self.log.rewrite(kept.iter().copied(), write)?;
        self.live = kept;
        Ok(())
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.live.clone()
    }
}

/// Numbers have different sizes.
fn write(number: &u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
    out.resize(out.len() + usize::try_from(number * 37 % 700).unwrap_or(0), 0xA5);
}

/// What is in a log.
pub(crate) fn read(disk: &SimulatedDisk) -> (Vec<u32>, Summary) {
    let book = Book::open(disk.clone()).expect("it opens");
    (book.numbers(), book.summary)
}
