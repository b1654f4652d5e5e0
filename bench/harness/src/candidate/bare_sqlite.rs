//! The limit of a durable add: a bare rusqlite loop over the same tables, with the same settings and the best
//! batch size. The limit of a read of a definition: a bare prepared statement by row id.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};
use shape_meta::{NewShape, SqliteOptions};

use super::{
    composition::FULL_STACK,
    interface::{Candidate, Client, Kind, Store, unsupported},
};
use crate::{data::sample, error::Result};

/// About the size of a flush under load.
const BATCH: usize = 50_000;

const SHAPE: &str =
    "INSERT INTO shape (id, handle, key, hash, state, indexed, relations) VALUES (?, ?, ?, ?, ?, ?, ?)";
const DEFINITION: &str = "INSERT INTO definition (id, dependencies, body) VALUES (?, ?, ?)";

/// SQLite without shape-meta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareSqlite;

impl Candidate for BareSqlite {
    fn name(&self) -> &'static str {
        "bare rusqlite"
    }

    fn about(&self) -> &'static str {
        "the same tables, FULL, batches of 50,000, prepared statements, one thread, no index kept anywhere"
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Store>> {
        // The store creates the tables, so they are the same. It would repair the rows of an earlier filling.
        if !directory.join("shape-meta.sqlite3").exists() {
            drop(FULL_STACK.open_with(directory, 0, SqliteOptions::default())?);
        }
        Ok(Box::new(Open { writer: connect(directory)?.into(), directory: directory.to_owned() }))
    }
}

struct Open {
    writer: Mutex<Connection>,
    directory: PathBuf,
}

fn connect(directory: &Path) -> Result<Connection> {
    let connection = Connection::open(directory.join("shape-meta.sqlite3"))?;
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; \
         PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = 67108864;",
        (16 << 20) / page
    ))?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        let connection = connect(&self.directory)?;
        // The page cache of a reading connection in shape-meta. A larger one would compare page caches.
        connection.pragma_update(None, "cache_size", -2_048)?;
        Ok(Box::new(Reader(connection)))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for part in shapes.chunks(BATCH) {
            insert(&connection, part)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

fn insert(connection: &Connection, shapes: &[NewShape]) -> Result {
    let transaction = connection.unchecked_transaction()?;
    {
        let mut id: i64 = transaction.query_row("SELECT last_seq FROM meta", [], |row| row.get(0))?;
        let mut shape = transaction.prepare_cached(SHAPE)?;
        let mut definition = transaction.prepare_cached(DEFINITION)?;
        for new in shapes {
            id += 1;
            let relations: Vec<u8> = new.relations.iter().flat_map(|one| one.oid().to_le_bytes()).collect();
            let hash = new.hash.get().cast_signed();
            let key = &new.key.as_bytes()[..];
            shape.execute(params![id, new.handle.as_str(), key, hash, 3, new.indexed, relations])?;
            definition.execute(params![id, &[][..] as &[u8], &*new.definition])?;
        }
        transaction.execute("UPDATE meta SET last_seq = ?, total = ?", params![id, id])?;
    }
    Ok(transaction.commit()?)
}

/// Computes the row id of a handle: a filled database has the shapes in the order of their numbers.
struct Reader(Connection);

impl Client for Reader {
    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let Some(number) = sample::number(handle) else { return unsupported() };
        let id = i64::try_from(number + 1)?;
        let mut statement = self.0.prepare_cached("SELECT body FROM definition WHERE id = ?")?;
        let body: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
        Ok(body.map(|body| body.len()))
    }
}
