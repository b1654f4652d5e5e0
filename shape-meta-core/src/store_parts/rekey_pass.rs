use std::{collections::HashSet, sync::Arc};

use crate::{Entry, Key, Record, Rekey, Result, Seq, Stamp, StampOutcome};

/// What a re-key decides about each shape, in any store: the shapes are passed in the order of creation.
///
/// A shape is replaced by one with a new sequence number and the same handle, so that a sequence number never
/// stands for two definitions: a standby learns of it as of a removal and an add, and no layer serves a
/// definition under another key. Of two shapes that get the same key, the older one stays (C2).
///
/// The keys of new shapes are kept in memory, about 50 bytes for each.
#[derive(Debug)]
pub struct RekeyPass<'a> {
    found: Stamp,
    rekey: &'a Rekey,
    keys: HashSet<Key>,
    rekeyed: u64,
    dropped: u64,
    merged: u64,
}

impl<'a> RekeyPass<'a> {
    /// Begins a pass over shapes that were made with the stamp `found`.
    pub fn new(found: Stamp, rekey: &'a Rekey) -> Self {
        Self { found, rekey, keys: HashSet::new(), rekeyed: 0, dropped: 0, merged: 0 }
    }

    /// Records the key of a shape that an earlier pass, which was interrupted, has re-keyed.
    pub fn add_key(&mut self, key: Key) {
        self.keys.insert(key);
    }

    /// Returns the stamp that the shapes were made with.
    pub fn found(&self) -> &Stamp {
        &self.found
    }

    /// Returns the new shape in the place of an old one, with the sequence number `created`; `None` if the
    /// old one is removed instead. It has the handle and the time of creation of the old one. Runs the
    /// function of the application.
    ///
    /// # Errors
    ///
    /// `OtherStamp` if the function of the application fails.
    pub fn replacement(&mut self, old: &Record, created: Seq) -> Result<Option<Record>> {
        let Some(new) = self.rekey.apply(&self.found, old)? else {
            self.dropped += 1;
            return Ok(None);
        };
        if !self.keys.insert(new.key) {
            self.merged += 1;
            return Ok(None);
        }
        self.rekeyed += 1;
        let handle = old.handle().clone();
        let entry = Entry::new(created, handle, new.key, new.hash, new.relations, new.indexed)
            .with_created_at(old.entry.created_at());
        let (dependencies, definition) = (new.dependencies, new.definition);
        Ok(Some(Record { entry: Arc::new(entry), dependencies, definition }))
    }

    /// Returns what the pass has done.
    pub fn into_outcome(self) -> StampOutcome {
        let Self { found, rekeyed, dropped, merged, .. } = self;
        StampOutcome::Rekeyed { found, rekeyed, dropped, merged }
    }
}
