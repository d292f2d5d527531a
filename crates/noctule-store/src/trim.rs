//! Trimming a log: what is not needed goes from its front, and its files become the next segments.

use std::mem;

use crate::error::StoreError;
use crate::log::{Active, Log};
use crate::segment;
use crate::upkeep::{self, Done, Preparation, Upkeep};

impl Log {
    /// Forgets all segments before this one, whose files are used again or removed. Whoever opens
    /// the log next [says from where on it counts](Self::open_from), and has to know that durably
    /// before this is called. The last segment with records is kept in any case.
    pub fn trim(&mut self, before: u64) {
        self.trim_to(before);
        self.keep_up();
    }

    /// Ends the segment that is written to, if it has anything, so that it can be emptied although
    /// little comes. One file is kept for what comes next; if nothing has come, nothing is kept.
    ///
    /// # Errors
    ///
    /// If the next segment cannot be begun. The one that was written to has ended even so.
    pub fn seal(&mut self) -> Result<(), StoreError> {
        let is_new = self.active.as_ref().map(|active| active.is_new);
        let spare = if is_new == Some(false) { self.free.pop() } else { None };
        self.must_remove |= !self.free.is_empty();
        self.obsolete.append(&mut self.free);
        self.free.extend(spare);
        match is_new {
            Some(true) => self.cut_off_newest(),
            Some(false) => {
                self.active = None;
                self.active = Some(self.begin_segment()?);
            }
            None => {}
        }
        Ok(())
    }

    /// What the last segment with records has beyond them is of no use for a log that does not
    /// grow. That it stays costs room alone.
    fn cut_off_newest(&self) {
        let end = self.view.segments().get(&self.newest).copied();
        if self.settings.uses_again()
            && let Some(end) = end
            && let Ok(mut file) = self.view.disk().open(&segment::name(self.newest))
            && file.length().is_ok_and(|length| length > end)
        {
            let _ = file.truncate(end);
        }
    }

    /// Gets the next segment ready when the one that is written to fills up, so that no commit has
    /// to wait for it. Without this, the commit that needs it does it. A [`Committer`] has a thread
    /// for it.
    ///
    /// [`Committer`]: crate::Committer
    pub fn keep_up(&mut self) {
        if let Some(upkeep) = self.upkeep() {
            let done = upkeep.run();
            self.take_over(done);
        }
    }

    /// Trims without touching the disk.
    pub(crate) fn trim_to(&mut self, before: u64) {
        let before = before.min(self.newest);
        if before <= self.first {
            return;
        }
        self.first = before;
        let mut segments = self.view.segments();
        let counting = segments.split_off(&before);
        let trimmed = mem::replace(&mut *segments, counting);
        drop(segments);
        for number in trimmed.into_keys() {
            if self.free.len() < self.settings.free_segments_max {
                self.free.push(number);
            } else {
                self.obsolete.push(number);
                self.must_remove = true;
            }
        }
    }

    /// What there is to do now; its result is to be [taken over](Self::take_over).
    pub(crate) fn upkeep(&mut self) -> Option<Upkeep> {
        let is_filling =
            |active: &Active| active.length.saturating_mul(2) >= self.settings.segment_bytes;
        let must_prepare = self.settings.uses_again()
            && self.prepared.is_none()
            && !self.has_failed_ahead
            && self.active.as_ref().is_some_and(is_filling);
        if !must_prepare && !self.must_remove {
            return None;
        }
        self.must_remove = false;
        let preparation = must_prepare.then(|| self.preparation(true));
        let removals = mem::take(&mut self.obsolete);
        Some(Upkeep { view: self.view(), removals, preparation })
    }

    pub(crate) fn take_over(&mut self, done: Done) {
        self.obsolete.extend(done.left);
        match done.prepared {
            Some(Ok(prepared)) => self.prepared = Some(prepared),
            Some(Err(_)) => self.has_failed_ahead = true,
            None => {}
        }
    }

    pub(crate) fn preparation(&mut self, is_ahead: bool) -> Preparation {
        let number = self.next_number();
        let header = self.settings.header(number, segment::begin_life(), 0);
        // The one that was written last is the likeliest to be in the system's memory still.
        Preparation { header, bytes: self.settings.segment_bytes, from: self.free.pop(), is_ahead }
    }

    /// Removes what is void. What cannot be removed now is tried again the next time.
    pub(crate) fn remove_obsolete(&mut self) {
        let Self { view, obsolete, .. } = self;
        obsolete.retain(|number| !upkeep::remove(view, *number));
    }
}
