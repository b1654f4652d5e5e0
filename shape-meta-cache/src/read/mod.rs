mod last_read_times;

use std::sync::Arc;

use shape_meta_core::{
    Counts, Entry, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record, Relation, Result,
    Scan, ScanItem, Seq, ShapeStore, Timestamp,
};

use self::last_read_times::LastReadTimes;
use crate::{Cached, LookupIndex, mirror::Mirror};

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ReadShapes for Cached<S> {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        Ok(self.mirror.read(|view| view.by_handle(&self.mirror.slots, handle).map(|entry| entry.metadata())))
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        match self.mirror.lookup_index {
            LookupIndex::Memory => Ok(self
                .mirror
                .read(|view| view.by_key(&self.mirror.slots, key).map(|entry| entry.handle().clone()))),
            LookupIndex::Disk => {
                let handle = self.inner.handle_for(key);
                self.wait_published()?;
                // A write that has failed may have left it on the disk.
                let is_shown = |handle: &Handle| {
                    let entry = self.mirror.entry(handle.as_str());
                    entry.is_some_and(|entry| entry.key() == key)
                };
                Ok(handle?.filter(is_shown))
            }
        }
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        Ok(self.mirror.entry(handle))
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        let Some(entry) = self.mirror.entry(handle) else { return Ok(None) };
        if let Some(record) = self.mirror.definitions.get(&entry) {
            return Ok(Some(record));
        }
        let cleared = self.mirror.definitions.cleared();
        let record = self.inner.record_of(&entry)?;
        match &record {
            // No wait is needed: the shape was live when the mirror was read, and a definition never changes.
            Some(record) => self.mirror.definitions.insert(record, cleared),
            // The removal is committed, and may not be published yet.
            None => self.wait_published()?,
        }
        Ok(record)
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        match self.mirror.lookup_index {
            LookupIndex::Memory => Ok(self.mirror.handles_for_relations(relations)),
            LookupIndex::Disk if relations.is_empty() => Ok(Vec::new()),
            LookupIndex::Disk => {
                let handles = self.inner.handles_for_relations(relations);
                self.wait_published()?;
                let mut handles = handles?;
                // All in one view: a batch is seen whole.
                let slots = &self.mirror.slots;
                self.mirror
                    .read(|view| handles.retain(|handle| view.by_handle(slots, handle.as_str()).is_some()));
                Ok(handles)
            }
        }
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.mirror.read(|view| view.totals().counts))
    }

    fn scan(&self) -> Result<Scan<'_>> {
        // Before the disk is read: every shape that the scan below lists is still in the entry list now.
        let mut last_reads = LastReadTimes::copy_from(&self.mirror.entry_list);
        // The scan below is fixed to one state when this call returns, so the wait comes after it.
        let scan = self.inner.scan()?;
        self.wait_published()?;
        // Once more: a read that was recorded before a change which the scan shows must be in the times (C1).
        last_reads.update(&self.mirror.entry_list);
        Ok(Box::new(scan.map(move |item| Ok(self.mirror.with_own_entry(item?, &last_reads)))))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        // Needs no publish: the time is an atomic in the entry, which both sides of the table share.
        Ok(self
            .mirror
            .read(|view| view.by_handle(&self.mirror.slots, handle).is_some_and(|entry| entry.touch(at))))
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        Ok(self.mirror.least_recently_used(n, excluded))
    }

    fn last_seq(&self) -> Result<Seq> {
        // A mark is visible in the shared entry just before its sequence number is published.
        self.wait_published()?;
        Ok(self.mirror.read(|view| view.totals().last_seq))
    }
}

impl Mirror {
    /// Reads all relations from one view, so that a shape with several relations appears under all or none of
    /// them.
    fn handles_for_relations(&self, relations: &[Relation]) -> Vec<Handle> {
        if let [relation] = relations {
            return self.read(|view| {
                let mut handles = Vec::with_capacity(view.relation_len(*relation));
                handles.extend(view.by_relation(*relation).map(|entry| entry.handle().clone()));
                handles
            });
        }
        let mut shapes: Vec<_> = self.read(|view| {
            let entries = relations.iter().flat_map(|relation| view.by_relation(*relation));
            entries.map(|entry| (entry.created(), entry.handle().clone())).collect()
        });
        shapes.sort_unstable_by_key(|(created, _)| *created);
        shapes.dedup_by_key(|(created, _)| *created);
        shapes.into_iter().map(|(_, handle)| handle).collect()
    }

    /// Adds the last-read time to an item of the scan below, because only the mirror has it. Replaces the
    /// entry by that of the mirror, in which later reads are recorded.
    fn with_own_entry(&self, item: ScanItem, last_reads: &LastReadTimes) -> ScanItem {
        let ScanItem { record, mut metadata } = item;
        let created = record.entry.created();
        metadata.last_read = last_reads.get(created);
        let own = self.entry(record.handle()).filter(|own| own.created() == created);
        match own {
            Some(entry) if !Arc::ptr_eq(&entry, &record.entry) => {
                let record = Arc::try_unwrap(record).unwrap_or_else(|shared| (*shared).clone());
                ScanItem { record: Arc::new(Record { entry, ..record }), metadata }
            }
            _ => ScanItem { record, metadata },
        }
    }
}
