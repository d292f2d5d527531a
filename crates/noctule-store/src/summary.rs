//! What was found when a store was opened, and what was dropped.

use std::fmt;

/// What was found when a store was opened, and what was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many segments were read.
    pub segments: u64,
    /// How many records came back.
    pub records: u64,
    /// The bytes of those records.
    pub bytes: u64,
    /// The end of the last write, which was cut off. Nobody was promised what was in it.
    pub torn: Option<Torn>,
    /// What was kept once and cannot be read any more. It is set aside in files of its own.
    pub quarantined: Vec<Quarantined>,
    /// How many batches are missing that were written between others that are there.
    pub missing_batches: u64,
}

/// A last write that did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// In which segment.
    pub segment: u64,
    /// From where on.
    pub offset: u64,
    /// The bytes that were dropped.
    pub bytes: u64,
}

/// Bytes that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// In which segment.
    pub segment: u64,
    /// Where.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// Why they cannot be read.
    pub reason: String,
}

impl Summary {
    /// Whether everything that was ever promised is there.
    pub fn is_intact(&self) -> bool {
        self.quarantined.is_empty() && self.missing_batches == 0
    }

    /// Whether there was nothing to repair at all.
    pub fn is_clean(&self) -> bool {
        self.is_intact() && self.torn.is_none()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segments, records, bytes, .. } = self;
        write!(formatter, "{records} records ({bytes} bytes) in {segments} segments")?;
        if let Some(Torn { segment, offset, bytes }) = &self.torn {
            write!(
                formatter,
                "; an unfinished write of {bytes} bytes dropped at {offset} of segment {segment}"
            )?;
        }
        for Quarantined { segment, offset, bytes, reason } in &self.quarantined {
            write!(
                formatter,
                "; {bytes} bytes set aside at {offset} of segment {segment}: {reason}"
            )?;
        }
        if self.missing_batches > 0 {
            write!(formatter, "; {} batches missing", self.missing_batches)?;
        }
        Ok(())
    }
}
