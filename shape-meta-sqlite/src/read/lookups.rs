use std::sync::Arc;

use shape_meta_core::{
    Counts, Entry, Error, ErrorKind, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record,
    Relation, Result, Scan, Seq, Timestamp, store_parts::lookup_hash,
};

use crate::{
    DiskIndexes, SqliteStore,
    connection::operation::Operation,
    error::failed,
    format::{
        block::BlockReader,
        compat,
        meta::Meta,
        migrate,
        query::{each, look_up},
        row, schema, sql,
    },
    read::least_recently_used::least_recently_used,
};

/// A read sees every batch whose commit returned before the read began (C1), on whichever connection.
#[deny(clippy::missing_trait_methods)]
impl ReadShapes for SqliteStore {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        self.require_disk_indexes()?;
        self.recency.read_consistently(|removed| {
            self.connections.read(Operation::Metadata, |connection| {
                look_up(connection, sql::ENTRY, [lookup_hash::handle(handle)], |found| {
                    let entry = row::looked_up(found, |id| self.recency.last_read(id, removed))?;
                    Ok((entry.handle().as_str() == handle).then(|| entry.metadata()))
                })
            })
        })
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        self.require_disk_indexes()?;
        self.connections.read(Operation::HandleFor, |connection| {
            let version = match self.connections.settings().standby {
                // Its owner may be of an earlier version.
                true => schema::version(connection).map_err(failed("read the schema version"))?,
                false => migrate::CURRENT,
            };
            look_up(connection, sql::HANDLE_FOR, [compat::key_hash(key, version)], |found| {
                let entry = row::looked_up(found, |_| None)?;
                Ok((entry.key() == key).then(|| entry.handle().clone()))
            })
        })
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        self.require_disk_indexes()?;
        self.recency.read_consistently(|removed| {
            self.connections.read(Operation::Entry, |connection| {
                look_up(connection, sql::ENTRY, [lookup_hash::handle(handle)], |found| {
                    let entry = row::looked_up(found, |id| self.recency.last_read(id, removed))?;
                    Ok((entry.handle().as_str() == handle).then(|| Arc::new(entry)))
                })
            })
        })
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        self.require_disk_indexes()?;
        self.recency.read_consistently(|removed| {
            self.connections.read(Operation::Record, |connection| {
                look_up(connection, sql::RECORD, [lookup_hash::handle(handle)], |found| {
                    let entry = Arc::new(row::looked_up(found, |id| self.recency.last_read(id, removed))?);
                    if entry.handle().as_str() != handle {
                        return Ok(None);
                    }
                    Ok(Some(Arc::new(row::record(
                        found,
                        row::LOOKED_UP_DEFINITION,
                        entry,
                        &mut BlockReader::default(),
                    )?)))
                })
            })
        })
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.require_disk_indexes()?;
        if relations.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.connections.read(Operation::HandlesForRelations, |connection| {
            // One transaction, so that all relations are read from one snapshot.
            let transaction = connection.unchecked_transaction().map_err(failed("read"))?;
            let mut found = Vec::new();
            for relation in relations {
                each(&transaction, sql::HANDLES_FOR_RELATION, [lookup_hash::relation(*relation)], |row| {
                    let entry = row::looked_up(row, |_| None)?;
                    found.push((entry.created(), entry.handle().clone()));
                    Ok(true)
                })?;
            }
            Ok(found)
        })?;
        if relations.len() > 1 {
            found.sort_unstable_by_key(|(id, _)| *id);
            found.dedup_by_key(|(id, _)| *id);
        }
        Ok(found.into_iter().map(|(_, handle)| handle).collect())
    }

    fn counts(&self) -> Result<Counts> {
        self.connections.read(Operation::Counts, |connection| Ok(Meta::read(connection)?.counts))
    }

    fn scan(&self) -> Result<Scan<'_>> {
        crate::read::scan::scan(&self.connections, &self.recency)
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        self.require_disk_indexes()?;
        self.recency.touch_found(at, || {
            self.connections.read(Operation::Touch, |connection| {
                look_up(connection, sql::ENTRY, [lookup_hash::handle(handle)], |found| {
                    let entry = row::looked_up(found, |_| None)?;
                    Ok((entry.handle().as_str() == handle).then(|| entry.created()))
                })
            })
        })
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.recency.require()?;
        self.recency.read_consistently(|removed| {
            self.connections.read(Operation::LeastRecentlyUsed, |connection| {
                least_recently_used(connection, &self.recency, removed, n, excluded)
            })
        })
    }

    fn last_seq(&self) -> Result<Seq> {
        self.connections.read_to_write(Operation::LastSeq, |connection| Ok(Meta::read(connection)?.last_seq))
    }
}

impl SqliteStore {
    /// Returns `Unsupported` if the database has no index tables.
    fn require_disk_indexes(&self) -> Result<()> {
        match self.disk_indexes() {
            DiskIndexes::Maintained => Ok(()),
            DiskIndexes::Omitted => Err(Error::new(
                ErrorKind::Unsupported,
                "the database has no index tables, since it was opened with `DiskIndexes::Omitted`; read \
                 through a cache that mirrors the look-ups, or open it with `DiskIndexes::Maintained`",
            )),
        }
    }
}
