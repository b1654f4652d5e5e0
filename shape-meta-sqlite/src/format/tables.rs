//! Compares the tables of a file with those that its schema version makes.

use std::{collections::BTreeMap, sync::OnceLock};

use rusqlite::Connection;

use crate::format::{migrate, schema};

/// Names and texts of tables, without those of SQLite itself.
pub(crate) type Tables = BTreeMap<String, String>;

/// Returns whether the tables are those of this version, with or without index tables. A table whose text has
/// a flipped byte may have other columns. Additional tables are ignored.
pub(crate) fn match_version(connection: &Connection, version: u32) -> rusqlite::Result<bool> {
    match expected(version)? {
        Some(expected) => Ok(has_all(&tables(connection)?, expected)),
        None => Ok(false),
    }
}

/// Returns the version that this crate reads and whose tables are exactly these, whatever version the header
/// names.
pub(crate) fn known_version(found: &Tables) -> rusqlite::Result<Option<u32>> {
    for version in 1..=migrate::CURRENT {
        if let Some(expected) = expected(version)?
            && has_all(found, expected)
            && found.keys().all(|name| expected.contains_key(name))
        {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

fn has_all(found: &Tables, expected: &Tables) -> bool {
    let has = |name: &String, text: &String| found.get(name) == Some(text);
    let is_index = |name: &str| name.ends_with("_lookup");
    let with_indexes = found.keys().any(|name| is_index(name));
    expected.iter().all(|(name, text)| has(name, text) || (is_index(name) && !with_indexes))
}

fn expected(version: u32) -> rusqlite::Result<Option<&'static Tables>> {
    static EXPECTED: [OnceLock<Tables>; migrate::STEPS.len()] =
        [const { OnceLock::new() }; migrate::STEPS.len()];
    let Some(expected) = EXPECTED.get((version as usize).wrapping_sub(1)) else { return Ok(None) };
    if expected.get().is_none() {
        let _ = expected.set(create_tables(version)?);
    }
    Ok(expected.get())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A database whose header names a later version is taken for damaged if its tables are known. So no two
    /// versions may have the same tables.
    #[test]
    fn c11_each_migration_changes_the_tables() {
        for version in 1..migrate::CURRENT {
            let [earlier, later] =
                [version, version + 1].map(|version| create_tables(version).expect("creates"));
            assert!(!has_all(&earlier, &later), "version {}", version + 1);
        }
    }
}
