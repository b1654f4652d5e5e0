use rusqlite::{CachedStatement, Connection, TransactionBehavior};
use shape_meta_core::{Entry, Result, store_parts::lookup_hash};

use crate::{
    DiskIndexes,
    error::failed,
    format::{row, schema, sql},
};

/// The changes of a batch to the index tables. They are collected and then written in the order of hashes, so
/// that each page is written once.
///
/// All inserts are written before all deletes: a row id is never reused, so within a batch a shape can only
/// be added before it is removed.
#[derive(Debug, Default)]
pub(crate) struct IndexChanges {
    added: IndexRows,
    removed: IndexRows,
}

/// Pairs of hash or relation and row id, for each table.
#[derive(Debug, Default)]
struct IndexRows {
    handles: Vec<(i64, i64)>,
    keys: Vec<(i64, i64)>,
    relations: Vec<(i64, i64)>,
}

impl IndexChanges {
    /// Collects the rows of a shape that was added.
    pub(crate) fn add(&mut self, id: i64, entry: &Entry) {
        self.added.push(id, entry);
    }

    /// Collects the rows of a shape that was removed.
    pub(crate) fn remove(&mut self, id: i64, entry: &Entry) {
        self.removed.push(id, entry);
    }

    /// Deletes all rows of the index tables, and discards what was collected so far.
    pub(crate) fn clear(&mut self, connection: &Connection) -> Result<()> {
        *self = Self::default();
        connection
            .execute_batch("DELETE FROM handle_lookup; DELETE FROM key_lookup; DELETE FROM relation_lookup;")
            .map_err(failed("clear the index tables"))
    }

    /// Writes the collected rows, in the transaction of the caller.
    pub(crate) fn write(&mut self, connection: &Connection) -> Result<()> {
        self.added.execute(connection, [sql::INSERT_HANDLE, sql::INSERT_KEY, sql::INSERT_RELATION])?;
        self.removed.execute(connection, [sql::DELETE_HANDLE, sql::DELETE_KEY, sql::DELETE_RELATION])
    }
}

impl IndexRows {
    fn push(&mut self, id: i64, entry: &Entry) {
        self.handles.push((lookup_hash::handle(entry.handle()), id));
        self.keys.push((lookup_hash::key(entry.key()), id));
        self.relations.extend(entry.relations().iter().map(|one| (lookup_hash::relation(*one), id)));
    }

    fn execute(&mut self, connection: &Connection, statements: [&str; 3]) -> Result<()> {
        let tables = [&mut self.handles, &mut self.keys, &mut self.relations];
        for (pairs, sql) in tables.into_iter().zip(statements) {
            if pairs.is_empty() {
                continue;
            }
            pairs.sort_unstable();
            let mut statement = connection.prepare_cached(sql).map_err(failed("write an index table"))?;
            for (hash, id) in pairs.drain(..) {
                step(&mut statement, hash, id)?;
            }
        }
        Ok(())
    }
}

fn step(statement: &mut CachedStatement<'_>, hash: i64, id: i64) -> Result<()> {
    match statement.execute([hash, id]) {
        Ok(_) => Ok(()),
        Err(error) => Err(failed("write an index table")(error).with_rejected_seq(row::seq(id))),
    }
}

/// Builds or drops the index tables, in one transaction, if the database does not have the wanted ones.
/// Building takes a pass over all shapes, and at least 48 bytes
/// of memory for each.
pub(crate) fn ensure(connection: &mut Connection, wanted: DiskIndexes) -> Result<()> {
    let had = schema::disk_indexes(connection).map_err(failed("read the schema"))?;
    if had == wanted {
        return Ok(());
    }
    let doing = "build or drop the index tables";
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
    match wanted {
        DiskIndexes::Omitted => transaction.execute_batch(schema::DROP_LOOKUPS).map_err(failed(doing))?,
        DiskIndexes::Maintained => {
            transaction.execute_batch(schema::LOOKUPS).map_err(failed(doing))?;
            // All rows are collected first: 16 bytes for each shape and table, for a build that appends to
            // every page once.
            let mut changes = IndexChanges::default();
            each_entry(&transaction, |entry| changes.add(entry.created().get().cast_signed(), &entry))?;
            changes.write(&transaction)?;
        }
    }
    transaction.commit().map_err(failed(doing))
}

fn each_entry(connection: &Connection, mut each: impl FnMut(Entry)) -> Result<()> {
    let mut statement = connection.prepare(sql::LOAD).map_err(failed("read the shapes"))?;
    let mut rows = statement.query([]).map_err(failed("read the shapes"))?;
    while let Some(row) = rows.next().map_err(failed("read the shapes"))? {
        each(row::entry(row, |_| None)?);
    }
    Ok(())
}
