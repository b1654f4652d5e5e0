use std::sync::Arc;

use shape_meta_core::{
    Counts, Entry, Error, ErrorKind, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record,
    Relation, Result, Scan, Seq, Timestamp, store_parts::lookup_hash,
};

use crate::{
    DiskIndexes, PostgresStore,
    connection::operation::Operation,
    format::row,
    read::{least_recently_used::least_recently_used, scan},
};

/// A read sees every batch whose commit returned before the read began (C1), on whichever connection.
#[deny(clippy::missing_trait_methods)]
impl ReadShapes for PostgresStore {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        Ok(self.find_entry(Operation::Metadata, handle)?.map(|entry| entry.metadata()))
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        self.require_disk_indexes()?;
        let statement = &self.stack.statements.handle_for;
        let (hash, bytes) = (lookup_hash::key(key), key.as_bytes().to_vec());
        let doing = "look a key up";
        let rows =
            self.read(Operation::HandleFor, doing, statement, vec![Box::new(hash), Box::new(bytes)])?;
        self.noting(rows.first().map(|found| Ok(row::entry(found, |_| None)?.handle().clone())).transpose())
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        Ok(self.find_entry(Operation::Entry, handle)?.map(Arc::new))
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        self.require_disk_indexes()?;
        self.recency.read_consistently(|removed| {
            let rows = self.find(Operation::Record, &self.stack.statements.record, handle)?;
            let record = rows.first().map(|found| -> Result<_> {
                let entry = Arc::new(row::entry(found, |id| self.recency.last_read(id, removed))?);
                Ok(Arc::new(row::record(found, row::DEFINITION, entry)?))
            });
            self.noting(record.transpose())
        })
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.require_disk_indexes()?;
        if relations.is_empty() {
            return Ok(Vec::new());
        }
        let statement = &self.stack.statements.handles_for_relations;
        let oids: Vec<_> = relations.iter().map(|one| lookup_hash::relation(*one)).collect();
        let doing = "look relations up";
        let rows = self.read(Operation::HandlesForRelations, doing, statement, vec![Box::new(oids)])?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let entry = self.noting(row::entry(row, |_| None))?;
            found.push((entry.created(), entry.handle().clone()));
        }
        if relations.len() > 1 {
            found.sort_unstable_by_key(|(id, _)| *id);
            found.dedup_by_key(|(id, _)| *id);
        }
        Ok(found.into_iter().map(|(_, handle)| handle).collect())
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.read_stack(Operation::Counts)?.counts)
    }

    fn scan(&self) -> Result<Scan<'_>> {
        scan::scan(self)
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        self.require_disk_indexes()?;
        self.recency.touch_found(at, || {
            let rows = self.find(Operation::Touch, &self.stack.statements.entry, handle)?;
            let found = rows.first().map(|found| row::entry(found, |_| None)).transpose()?;
            Ok(found.map(|entry| entry.created()))
        })
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.recency.require()?;
        self.recency.read_consistently(|removed| least_recently_used(self, removed, n, excluded))
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(self.read_stack(Operation::LastSeq)?.last_seq)
    }
}

impl PostgresStore {
    fn find_entry(&self, operation: Operation, handle: &str) -> Result<Option<Entry>> {
        self.require_disk_indexes()?;
        self.recency.read_consistently(|removed| {
            let rows = self.find(operation, &self.stack.statements.entry, handle)?;
            let entry = |found| row::entry(found, |id| self.recency.last_read(id, removed));
            self.noting(rows.first().map(entry).transpose())
        })
    }

    /// Returns the row with this handle of a statement that searches for one.
    fn find(
        &self,
        operation: Operation,
        statement: &Arc<str>,
        handle: &str,
    ) -> Result<Vec<tokio_postgres::Row>> {
        // PostgreSQL's texts cannot contain this character, and no handle does.
        if handle.contains('\0') {
            return Ok(Vec::new());
        }
        let params = vec![Box::new(lookup_hash::handle(handle)) as _, Box::new(handle.to_owned()) as _];
        self.read(operation, "look a handle up", statement, params)
    }

    /// Returns `Unsupported` if the stack has no look-ups.
    fn require_disk_indexes(&self) -> Result<()> {
        match self.options.disk_indexes {
            DiskIndexes::Maintained => Ok(()),
            DiskIndexes::Omitted => Err(Error::new(
                ErrorKind::Unsupported,
                "the stack has no look-ups, since it was opened with `DiskIndexes::Omitted`; read through a cache \
                 that mirrors them, or open it with `DiskIndexes::Maintained`",
            )),
        }
    }
}
