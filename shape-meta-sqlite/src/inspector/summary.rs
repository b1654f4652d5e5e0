use rusqlite::Connection;
use shape_meta_core::{Counts, Handle, Result, Seq, Stamp, store_parts::ShapeTotals};

use super::{Inspector, Owner};
use crate::{
    DiskIndexes, TopRelation,
    error::{failed, failed_on},
    format::{
        cleanup::{self, TrustedAs},
        files,
        meta::Meta,
        query::each,
        row, schema, sql,
        stamp::StampRow,
    },
    ownership::{file_id::FileOrigin, lock::OwnerLock},
};

/// Summary of a database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Schema version.
    pub schema_version: u32,
    /// Latest owner.
    pub owner: Owner,
    /// Epoch of the latest owner.
    pub epoch: u64,
    /// Stamp of the shapes, if the database has one.
    pub stamp: Option<Stamp>,
    /// Stamp of the shapes that an interrupted re-key has done; `stamp` is that of the others.
    pub rekeyed_to: Option<Stamp>,
    /// Sequence number of the latest committed mutation.
    pub last_seq: Seq,
    /// Numbers of shapes, as the database stores them.
    pub counts: Counts,
    /// Numbers of shapes whose snapshot is pending, started and complete.
    pub states: [u64; 3],
    /// Number of removed shapes whose stored data is not yet cleaned.
    pub cleanup_tasks: u64,
    /// Whether stored data without a shape is known to belong to this database, so that the owner deletes it.
    /// Otherwise the owner reports it, and waits for a confirmation. An open ends the trust in a copy.
    pub is_storage_trusted: bool,
    /// Number of damaged shape rows. Other fields do not include them, except `counts`.
    pub damaged_rows: u64,
    /// Whether the database has disk indexes.
    pub disk_indexes: DiskIndexes,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Size of the WAL file in bytes.
    pub wal_bytes: u64,
    /// Size of the free pages in bytes.
    pub free_bytes: u64,
    /// Page size in bytes.
    pub page_size: u64,
    /// Oldest shape and the sequence number of its add.
    pub oldest: Option<(Seq, Handle)>,
    /// Newest shape and the sequence number of its add.
    pub newest: Option<(Seq, Handle)>,
    /// Relations with the most shapes, in descending order.
    pub top_relations: Vec<TopRelation>,
}

impl Inspector {
    /// Returns a summary with at most `top` relations. Reads all shape rows once, but no definitions.
    ///
    /// # Errors
    ///
    /// An error if the database cannot be read.
    pub fn summary(&self, top: usize) -> Result<Summary> {
        let transaction = self.snapshot("read the database")?;
        let meta = Meta::read(&transaction)?;
        let number = |name| {
            let value = transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            value.map(i64::cast_unsigned).map_err(failed("read the size of the database"))
        };
        let (pages, free, page_size) =
            (number("page_count")?, number("freelist_count")?, number("page_size")?);
        let stamp = StampRow::read(&transaction)?;
        let rekeyed_to = stamp.as_ref().and_then(|row| row.rekey.as_ref().map(|begun| begun.next.clone()));
        let wal = self.files.companion("-wal");
        let mut totals = ShapeTotals::default();
        each(&transaction, sql::LOAD, [], |found| {
            totals.add(row::entry(found, |_| None));
            Ok(true)
        })?;
        Ok(Summary {
            schema_version: self.version,
            owner: self.owner()?,
            epoch: meta.epoch,
            stamp: stamp.map(|row| row.stamp),
            rekeyed_to,
            last_seq: meta.last_seq,
            counts: meta.counts,
            states: totals.states,
            cleanup_tasks: transaction
                .query_row("SELECT count(*) FROM cleanup", [], |row| row.get::<_, i64>(0))
                .map_err(failed("read the database"))?
                .cast_unsigned(),
            is_storage_trusted: self.is_storage_trusted(&transaction, &meta)?,
            damaged_rows: totals.damaged_rows,
            disk_indexes: schema::disk_indexes(&transaction).map_err(failed("read the schema"))?,
            database_bytes: pages * page_size,
            wal_bytes: files::size(&wal).map_err(failed_on("look at", &wal))?,
            free_bytes: free * page_size,
            page_size,
            top_relations: totals.top_relations(top),
            oldest: totals.oldest,
            newest: totals.newest,
        })
    }

    /// As the next open will find it.
    fn is_storage_trusted(&self, connection: &Connection, meta: &Meta) -> Result<bool> {
        let path = self.files.database();
        let file = FileOrigin::at(&path).map_err(failed_on("look at", &path))?;
        let expected = TrustedAs::new(meta.database, &file);
        let witness = OwnerLock::witness_of_owner(&self.files);
        Ok(witness.is_some_and(|witness| witness.vouches_for(meta))
            && cleanup::is_storage_trusted(connection, expected.as_ref())?)
    }
}
