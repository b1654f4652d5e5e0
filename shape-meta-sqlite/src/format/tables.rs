//! Compares the tables of a file with those that its schema version makes.

use std::{collections::BTreeMap, sync::OnceLock};

use rusqlite::Connection;

use crate::format::{migrate, schema};

/// Names and texts of tables, without those of SQLite itself.
type Tables = BTreeMap<String, String>;

/// Returns whether the tables are those of this version, with or without index tables. A table whose text has
/// a flipped byte may have other columns. Additional tables are ignored.
pub(crate) fn match_version(connection: &Connection, version: u32) -> rusqlite::Result<bool> {
    static EXPECTED: [OnceLock<Tables>; migrate::STEPS.len()] =
        [const { OnceLock::new() }; migrate::STEPS.len()];
    let Some(expected) = EXPECTED.get((version as usize).wrapping_sub(1)) else { return Ok(false) };
    let expected = match expected.get() {
        Some(expected) => expected,
        None => {
            let created = create_tables(version)?;
            expected.get_or_init(|| created)
        }
    };
    let found = tables(connection)?;
    let has = |name: &String, text: &String| found.get(name) == Some(text);
    let is_index = |name: &str| name.ends_with("_lookup");
    let with_indexes = found.keys().any(|name| is_index(name));
    Ok(expected.iter().all(|(name, text)| has(name, text) || (is_index(name) && !with_indexes)))
}

/// Returns the tables that this version creates.
fn create_tables(version: u32) -> rusqlite::Result<Tables> {
    let mut connection = Connection::open_in_memory()?;
    let transaction = connection.transaction()?;
    for step in &migrate::STEPS[..version as usize] {
        step(&transaction)?;
    }
    transaction.execute_batch(schema::LOOKUPS)?;
    tables(&transaction)
}

fn tables(connection: &Connection) -> rusqlite::Result<Tables> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
