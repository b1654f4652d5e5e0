use std::sync::{Arc, PoisonError};

use shape_meta_core::{Entry, Result, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp};

use crate::{Cached, roster::Roster};

/// How many times are saved in one turn: some ten milliseconds of a disk that a flush then waits for.
const PART: usize = 10_000;

/// Last-read times that count as saved. Unless they are, they are given back: after a failure, and after a
/// panic.
struct Taken {
    entries: Vec<Arc<Entry>>,
    saved: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.saved {
            self.entries.iter().for_each(|entry| entry.not_saved());
        }
    }
}

impl<S: ShapeStore> Cached<S> {
    /// Saves the times of the next so many shapes that were read since their times were last saved. Goes on
    /// where the last turn has stopped, so that a storm of reads on old shapes does not keep the times of
    /// new ones from being saved.
    ///
    /// Costs a look at each entry from there on, some nanoseconds each. The lock is held across disk work,
    /// and nobody but another sweep wants it.
    pub(crate) fn sweep_mirror(&self) -> Result<SweepProgress> {
        let mut after = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let (reads, mut taken) = take(&self.mirror.roster, *after);
        if !reads.is_empty() {
            self.inner.save_reads(&reads)?;
        }
        taken.saved = true;
        let more = reads.len() == PART;
        *after = match reads.last() {
            Some((last, _)) if more => *last,
            _ => Seq::ZERO,
        };
        Ok(SweepProgress { shapes: reads.len(), more })
    }
}

fn take(roster: &Roster, after: Seq) -> (Vec<(Seq, Timestamp)>, Taken) {
    let (mut reads, mut taken) = (Vec::new(), Taken { entries: Vec::new(), saved: false });
    for chunk in roster.chunks_after(after) {
        let entries = chunk.entries();
        for entry in entries.iter().filter(|entry| entry.created() > after) {
            if reads.len() == PART {
                return (reads, taken);
            }
            if let Some(at) = entry.take_unsaved() {
                reads.push((entry.created(), at));
                taken.entries.push(Arc::clone(entry));
            }
        }
    }
    (reads, taken)
}
