//! A reader that asks again when the disk fails, so that everything a store says can be compared.

use std::sync::Arc;

use shape_meta::{
    Counts, Entry, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record, Relation, Result,
    Scan, ScanItem, Seq, Timestamp,
};

use super::honest::honest;

/// More than any fault here lasts.
const ATTEMPTS: usize = 100;

/// Does it again as long as the disk fails.
#[track_caller]
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> T {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(value) => return value,
            Err(error) => honest(&error),
        }
    }
    panic!("the disk fails for ever");
}

/// A store whose reads are asked again.
pub(super) struct Patient<'a, S>(pub(super) &'a S);

#[deny(clippy::missing_trait_methods)]
impl<S: ReadShapes> ReadShapes for Patient<'_, S> {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        Ok(patiently(|| self.0.metadata(handle)))
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        Ok(patiently(|| self.0.handle_for(key)))
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        Ok(patiently(|| self.0.entry(handle)))
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        Ok(patiently(|| self.0.record(handle)))
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        Ok(patiently(|| self.0.handles_for_relations(relations)))
    }

    fn counts(&self) -> Result<Counts> {
        Ok(patiently(|| self.0.counts()))
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let all: Vec<ScanItem> = patiently(|| self.0.scan()?.collect());
        Ok(Box::new(all.into_iter().map(Ok)))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        Ok(patiently(|| self.0.touch(handle, at)))
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        Ok(patiently(|| self.0.least_recently_used(n, excluded)))
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(patiently(|| self.0.last_seq()))
    }
}
