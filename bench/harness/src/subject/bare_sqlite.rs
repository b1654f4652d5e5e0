//! The limit of what reaches the disk: a bare rusqlite loop over the same tables, with the same settings and
//! batches of the size that does best; and of a definition: a bare prepared statement by row id.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};
use shape_meta::{NewShape, SqliteOptions};

use super::{Candidate, Client, FULL, Kind, Subject, cannot};
use crate::{Result, sample};

/// What a flush takes at once under load, about.
const BATCH: usize = 50_000;

const SHAPE: &str =
    "INSERT INTO shape (id, handle, key, hash, state, indexed, relations) VALUES (?, ?, ?, ?, ?, ?, ?)";
const DEFINITION: &str = "INSERT INTO definition (id, dependencies, body) VALUES (?, ?, ?)";

/// SQLite without anything around it.
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

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Subject>> {
        // The store makes the tables, so that they are the same ones.
        drop(FULL.open_with(directory, 0, SqliteOptions::default())?);
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

impl Subject for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        let connection = connect(&self.directory)?;
        // As much as a reading connection of ours has. With more, what is compared is the caches of pages.
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

/// Knows the row id of a handle without asking: it is the place of the shape's add in the order, and a filled
/// database has an add and a mark of each shape, in the order of their numbers.
struct Reader(Connection);

impl Client for Reader {
    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let Some(number) = sample::number(handle) else { return cannot() };
        let id = i64::try_from(2 * number + 1)?;
        let mut statement = self.0.prepare_cached("SELECT body FROM definition WHERE id = ?")?;
        let body: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
        Ok(body.map(|body| body.len()))
    }
}
