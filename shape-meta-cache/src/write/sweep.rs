use std::sync::{Arc, PoisonError};

use shape_meta_core::{Entry, Result, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp};

use crate::{Cached, mirror::EntryList};

/// The maximum number of times that one sweep saves: some ten milliseconds of disk work, for which a flush
/// may have to wait.
const MAX_SWEEP: usize = 10_000;

/// Entries whose last-read times are marked as saved. If the save fails or panics, `drop` marks them as
/// unsaved again.
struct TakenReads {
    entries: Vec<Arc<Entry>>,
    saved: bool,
}

impl Drop for TakenReads {
    fn drop(&mut self) {
        if !self.saved {
            self.entries.iter().for_each(|entry| entry.mark_read_dirty());
        }
    }
}

impl<S: ShapeStore> Cached<S> {
    /// Saves the last-read times of the next shapes that were read since their times were last saved.
    ///
    /// Continues after the last shape of the previous sweep. Frequent reads of old shapes can therefore not
    /// prevent the times of new shapes from being saved.
    ///
    /// Visits each entry from there on, some nanoseconds each. Holds a lock across disk work that only
    /// another sweep takes.
    pub(crate) fn sweep_mirror(&self) -> Result<SweepProgress> {
        let mut after = self.sweep_position.lock().unwrap_or_else(PoisonError::into_inner);
        let (reads, mut taken) = take_unsaved(&self.mirror.entry_list, *after);
        if !reads.is_empty() {
            self.inner.save_reads(&reads)?;
        }
        taken.saved = true;
        let more = reads.len() == MAX_SWEEP;
        *after = match reads.last() {
            Some((last, _)) if more => *last,
            _ => Seq::ZERO,
        };
        Ok(SweepProgress { shapes: reads.len(), more })
    }
}

fn take_unsaved(entry_list: &EntryList, after: Seq) -> (Vec<(Seq, Timestamp)>, TakenReads) {
    let (mut reads, mut taken) = (Vec::new(), TakenReads { entries: Vec::new(), saved: false });
    for chunk in entry_list.chunks_after(after) {
        let entries = chunk.entries();
        for entry in entries.iter().filter(|entry| entry.created() > after) {
            if reads.len() == MAX_SWEEP {
                return (reads, taken);
            }
            if let Some(at) = entry.take_dirty_read() {
                reads.push((entry.created(), at));
                taken.entries.push(Arc::clone(entry));
            }
        }
    }
    (reads, taken)
}
