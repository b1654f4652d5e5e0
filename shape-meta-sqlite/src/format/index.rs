use rusqlite::{CachedStatement, Connection, TransactionBehavior};
use shape_meta_core::{Entry, Result};

use crate::{
    DiskIndexes,
    error::failed,
    format::{prefix_hash, row, schema, sql},
};

/// What a batch does to the index tables, gathered so that it can be done in the order of hashes: pages
/// are then visited from left to right, each once.
///
/// All inserts first, then all deletes: a row id is never used twice, so within a batch a shape can only
/// be added before it is removed, and never again.
#[derive(Debug, Default)]
pub(crate) struct IndexChanges {
    added: Narrow,
    removed: Narrow,
}

/// (hash or relation, row id), per table.
#[derive(Debug, Default)]
struct Narrow {
    handles: Vec<(i64, i64)>,
    keys: Vec<(i64, i64)>,
    relations: Vec<(i64, i64)>,
}

impl IndexChanges {
    pub(crate) fn add(&mut self, id: i64, entry: &Entry) {
        self.added.push(id, entry);
    }

    pub(crate) fn remove(&mut self, id: i64, entry: &Entry) {
        self.removed.push(id, entry);
    }

    /// Everything is removed at once, what was gathered so far included.
    pub(crate) fn clear(&mut self, connection: &Connection) -> Result<()> {
        *self = Self::default();
        connection
            .execute_batch("DELETE FROM handle_lookup; DELETE FROM key_lookup; DELETE FROM relation_lookup;")
            .map_err(failed("empty the look-ups"))
    }

    pub(crate) fn write(&mut self, connection: &Connection) -> Result<()> {
        self.added.run(connection, [sql::INSERT_HANDLE, sql::INSERT_KEY, sql::INSERT_RELATION])?;
        self.removed.run(connection, [sql::DELETE_HANDLE, sql::DELETE_KEY, sql::DELETE_RELATION])
    }
}

impl Narrow {
    fn push(&mut self, id: i64, entry: &Entry) {
        self.handles.push((prefix_hash::handle(entry.handle()), id));
        self.keys.push((prefix_hash::key(entry.key()), id));
        self.relations.extend(entry.relations().iter().map(|one| (prefix_hash::relation(*one), id)));
    }

    fn run(&mut self, connection: &Connection, statements: [&str; 3]) -> Result<()> {
        let tables = [&mut self.handles, &mut self.keys, &mut self.relations];
        for (pairs, sql) in tables.into_iter().zip(statements) {
            if pairs.is_empty() {
                continue;
            }
            pairs.sort_unstable();
            let mut statement = connection.prepare_cached(sql).map_err(failed("change a look-up"))?;
            for (narrow, id) in pairs.drain(..) {
                step(&mut statement, narrow, id)?;
            }
        }
        Ok(())
    }
}

fn step(statement: &mut CachedStatement<'_>, narrow: i64, id: i64) -> Result<()> {
    match statement.execute([narrow, id]) {
        Ok(_) => Ok(()),
        Err(error) => Err(failed("change a look-up")(error).with_culprit(row::seq(id))),
    }
}

/// Gives the file the look-ups that it shall have, in one transaction. Returns which it had, if others.
pub(crate) fn ensure(connection: &mut Connection, wanted: DiskIndexes) -> Result<Option<DiskIndexes>> {
    let had = schema::disk_indexes(connection).map_err(failed("read the schema"))?;
    if had == wanted {
        return Ok(None);
    }
    let doing = "build or drop the look-ups";
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
    match wanted {
        DiskIndexes::Omitted => transaction.execute_batch(schema::DROP_LOOKUPS).map_err(failed(doing))?,
        DiskIndexes::Maintained => {
            transaction.execute_batch(schema::LOOKUPS).map_err(failed(doing))?;
            // The pairs of all shapes at once: 16 bytes each and table, for a build that appends to every
            // page once.
            let mut changes = IndexChanges::default();
            each_entry(&transaction, |entry| changes.add(entry.created().get().cast_signed(), &entry))?;
            changes.write(&transaction)?;
        }
    }
    transaction.commit().map_err(failed(doing))?;
    Ok(Some(had))
}

fn each_entry(connection: &Connection, mut each: impl FnMut(Entry)) -> Result<()> {
    let mut statement = connection.prepare(sql::LOAD).map_err(failed("read the shapes"))?;
    let mut rows = statement.query([]).map_err(failed("read the shapes"))?;
    while let Some(row) = rows.next().map_err(failed("read the shapes"))? {
        each(row::entry(row, |_| None)?);
    }
    Ok(())
}
