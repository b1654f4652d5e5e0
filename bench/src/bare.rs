//! The limit: a bare rusqlite loop over the same tables, with the same settings and the same batches.

use std::{path::Path, time::Instant};

use rusqlite::{Connection, params};
use shape_meta::{Lookups, NewShape, prelude::*};

use crate::{Result, sample};

/// Inserts these shapes in batches and returns how many a second reached the disk.
pub(crate) fn insert(directory: &Path, shapes: &[NewShape], batch: usize) -> Result<f64> {
    // The store makes the tables, so that they are the same ones.
    sample::open(directory, Lookups::InMemory, 0)?.close(Duration::from_secs(60));
    let connection = Connection::open(directory.join("shape-meta.sqlite3"))?;
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; \
         PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = 67108864;",
        (16 << 20) / page
    ))?;
    let begun = Instant::now();
    let mut id = 0_i64;
    for part in shapes.chunks(batch) {
        let transaction = connection.unchecked_transaction()?;
        {
            let mut shape = connection.prepare_cached(
                "INSERT INTO shape (id, handle, key, hash, state, indexed, relations) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            let mut definition = connection
                .prepare_cached("INSERT INTO definition (id, dependencies, body) VALUES (?, ?, ?)")?;
            for new in part {
                id += 1;
                let relations: Vec<u8> =
                    new.relations.iter().flat_map(|one| one.oid().to_le_bytes()).collect();
                shape.execute(params![
                    id,
                    new.handle.as_str(),
                    &new.key.as_bytes()[..],
                    new.hash.get().cast_signed(),
                    0,
                    new.indexed,
                    relations
                ])?;
                definition.execute(params![id, &[][..] as &[u8], &*new.definition])?;
            }
            connection.execute("UPDATE meta SET last_seq = ?, total = ?", params![id, id])?;
        }
        transaction.commit()?;
    }
    Ok(shapes.len() as f64 / begun.elapsed().as_secs_f64())
}
