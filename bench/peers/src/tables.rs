//! The tables of the two SQLite peers: an untuned schema with an index for each access path.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use shape_meta::{NewShape, Relation};
use shape_meta_bench::Facts;

use crate::Result;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -16384;
    CREATE TABLE IF NOT EXISTS shape (
        handle TEXT PRIMARY KEY,
        key    BLOB NOT NULL UNIQUE,
        hash   INTEGER NOT NULL,
        state  INTEGER NOT NULL,
        body   BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS reads (
        relation INTEGER NOT NULL,
        handle   TEXT NOT NULL,
        PRIMARY KEY (relation, handle)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS reads_by_handle ON reads (handle);
";

pub(crate) fn open(directory: &Path) -> Result<Connection> {
    let connection = Connection::open(directory.join("peer.sqlite3"))?;
    connection.busy_timeout(std::time::Duration::from_secs(60))?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

pub(crate) fn insert(connection: &Connection, shape: &NewShape, state: u8) -> Result {
    let (handle, key) = (shape.handle.as_str(), &shape.key.as_bytes()[..]);
    connection
        .prepare_cached("INSERT INTO shape (handle, key, hash, state, body) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![handle, key, shape.hash.get().cast_signed(), state, &*shape.definition])?;
    let mut reads = connection.prepare_cached("INSERT INTO reads (relation, handle) VALUES (?, ?)")?;
    for relation in shape.relations.iter() {
        reads.execute(params![relation.oid(), handle])?;
    }
    Ok(())
}

pub(crate) fn delete(connection: &Connection, handle: &str) -> Result {
    connection.prepare_cached("DELETE FROM shape WHERE handle = ?")?.execute([handle])?;
    connection.prepare_cached("DELETE FROM reads WHERE handle = ?")?.execute([handle])?;
    Ok(())
}

pub(crate) fn facts(connection: &Connection, handle: &str) -> Result<Option<Facts>> {
    let mut statement = connection.prepare_cached("SELECT hash, state FROM shape WHERE handle = ?")?;
    let facts = statement.query_row([handle], |row| {
        Ok(Facts { hash: row.get::<_, i64>(0)?.cast_unsigned(), state: row.get(1)? })
    });
    Ok(facts.optional()?)
}

pub(crate) fn handle_for(connection: &Connection, key: &[u8]) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT handle FROM shape WHERE key = ?")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(crate) fn definition(connection: &Connection, handle: &str) -> Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT body FROM shape WHERE handle = ?")?;
    Ok(statement.query_row([handle], |row| row.get(0)).optional()?)
}

/// Passes the handles of each of these relations to `found`.
pub(crate) fn handles_for_relations(
    connection: &Connection,
    relations: &[Relation],
    mut each: impl FnMut(&str) -> Result,
) -> Result {
    let mut statement = connection.prepare_cached("SELECT handle FROM reads WHERE relation = ?")?;
    for relation in relations {
        let mut rows = statement.query([relation.oid()])?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_str()?)?;
        }
    }
    Ok(())
}
