use std::sync::Arc;

use shape_meta_core::{
    Counts, Entry, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record, Relation, Result,
    Scan, ScanItem, Seq, ShapeStore, Timestamp,
};

use crate::{Cached, LookupIndex, last_reads::LastReads, mirror::Mirror};

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
                self.settle();
                handle
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
        let record = self.inner.record_of(&entry)?;
        match &record {
            // Nothing to wait for: the shape was live when the mirror was read, and definitions do not change.
            Some(record) => self.mirror.definitions.keep(record),
            // Its removal is committed, and perhaps not published yet.
            None => self.settle(),
        }
        Ok(record)
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        match self.mirror.lookup_index {
            LookupIndex::Memory => Ok(self.mirror.handles_for_relations(relations)),
            LookupIndex::Disk if relations.is_empty() => Ok(Vec::new()),
            LookupIndex::Disk => {
                let handles = self.inner.handles_for_relations(relations);
                self.settle();
                handles
            }
        }
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.mirror.read(|view| view.totals().counts))
    }

    fn scan(&self) -> Result<Scan<'_>> {
        // Before the disk is asked: what it still lists then, the mirror still knows now.
        let mut last_reads = LastReads::of(&self.mirror.roster);
        // Its state is fixed when `scan` of the store below has returned, so that is when to wait.
        let scan = self.inner.scan()?;
        self.settle();
        // And again, so that a read is in it which was noted before a change that is.
        last_reads.update(&self.mirror.roster);
        Ok(Box::new(scan.map(move |listed| Ok(self.mirror.with_own_entry(listed?, &last_reads)))))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        // No publish: the time is an atomic in the entry that both sides of the table share.
        Ok(self.mirror.read(|view| {
            view.by_handle(&self.mirror.slots, handle).inspect(|entry| entry.touch(at)).is_some()
        }))
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        Ok(self.mirror.least_recently_used(n, excluded))
    }

    fn last_seq(&self) -> Result<Seq> {
        // A mark shows in the entry itself just before the place that it has is published.
        self.settle();
        Ok(self.mirror.read(|view| view.totals().last_seq))
    }
}

impl Mirror {
    /// All relations under one view, so that a shape that reads several is seen under all or none.
    fn handles_for_relations(&self, relations: &[Relation]) -> Vec<Handle> {
        if let [relation] = relations {
            return self.read(|view| {
                let mut handles = Vec::with_capacity(view.number_reading(*relation));
                handles.extend(view.reading(*relation).map(|entry| entry.handle().clone()));
                handles
            });
        }
        let mut readers: Vec<_> = self.read(|view| {
            let readers = relations.iter().flat_map(|relation| view.reading(*relation));
            readers.map(|entry| (entry.created(), entry.handle().clone())).collect()
        });
        readers.sort_unstable_by_key(|(created, _)| *created);
        readers.dedup_by_key(|(created, _)| *created);
        readers.into_iter().map(|(_, handle)| handle).collect()
    }

    /// What the disk listed, with its last read, of which the mirror alone knows, and with the entry of
    /// the mirror, in which further reads are noted.
    fn with_own_entry(&self, listed: ScanItem, last_reads: &LastReads) -> ScanItem {
        let ScanItem { record, mut metadata } = listed;
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
