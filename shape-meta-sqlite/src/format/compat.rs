use rusqlite::Connection;
use shape_meta_core::{Key, store_parts::lookup_hash};

/// The tables and columns that version 1 lacks: checksums, which are null, identities and tables, which are
/// empty.
const SINCE_1: &str = "
    CREATE TEMP VIEW meta AS SELECT *, NULL AS checksum, x'' AS database_id, x'' AS opening_id FROM main.meta;
    CREATE TEMP VIEW shape AS SELECT *, NULL AS checksum, 0 AS created_at FROM main.shape;
    CREATE TEMP VIEW definition AS SELECT *, NULL AS checksum, NULL AS first FROM main.definition;
    CREATE TEMP VIEW cleanup AS
        SELECT -row_number() OVER (ORDER BY handle) AS id, handle, NULL AS checksum FROM main.to_clean;
    CREATE TEMP TABLE change_log (through INTEGER PRIMARY KEY, changed BLOB, checksum INTEGER);
    CREATE TEMP TABLE last_read (id INTEGER PRIMARY KEY, at INTEGER);
    CREATE TEMP TABLE opening (through INTEGER PRIMARY KEY, at INTEGER);
    CREATE TEMP TABLE owner (id INTEGER PRIMARY KEY, process INTEGER, host TEXT, since INTEGER);
";

/// What version 2 lacks but for the tables, which [`SINCE_2_TABLES`] has.
const SINCE_2: &str =
    "CREATE TEMP VIEW meta AS SELECT *, x'' AS database_id, x'' AS opening_id FROM main.meta;
    CREATE TEMP VIEW cleanup AS
        SELECT -row_number() OVER (ORDER BY handle) AS id, handle, checksum FROM main.to_clean;";

/// The tables that versions 1 and 2 lack.
const SINCE_2_TABLES: &str = "
    CREATE TEMP TABLE lineage (
        epoch INTEGER PRIMARY KEY, opening_id BLOB, began_at INTEGER, checksum INTEGER
    );
    CREATE TEMP TABLE trusted_storage (id INTEGER PRIMARY KEY, database_id BLOB, checksum INTEGER);
";

/// The column that versions 2 and 3 lack; version 1 lacks more of this table.
const SINCE_3: &str = "CREATE TEMP VIEW shape AS SELECT *, 0 AS created_at FROM main.shape;";

/// The column that versions 2 to 4 lack; version 1 lacks more of this table.
const SINCE_4: &str = "CREATE TEMP VIEW definition AS SELECT *, NULL AS first FROM main.definition;";

/// The table that versions 1 to 3 lack.
const SINCE_3_TABLES: &str = "
    CREATE TEMP TABLE stamp (
        id INTEGER PRIMARY KEY, version INTEGER, source TEXT, rekey_through INTEGER, next_version INTEGER,
        next_source TEXT, checksum INTEGER
    );
";

/// Returns the bits of a key in the index tables of a database of this version.
pub(crate) fn key_hash(key: &Key, version: u32) -> i64 {
    match version {
        // Once, the first 8 bytes. With 200,000 keys that begin alike, each look-up read all of their rows.
        1 | 2 => key.prefix().cast_signed(),
        _ => lookup_hash::key(key),
    }
}

/// Shadows the tables of an earlier version with temporary views and tables of this connection, so that the
/// statements of the current version can read them. For connections that only read.
pub(crate) fn shadow(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    let missing: &[_] = match version {
        1 => &[SINCE_1, SINCE_2_TABLES, SINCE_3_TABLES],
        2 => &[SINCE_2, SINCE_2_TABLES, SINCE_3, SINCE_3_TABLES, SINCE_4],
        3 => &[SINCE_3, SINCE_3_TABLES, SINCE_4],
        4 => &[SINCE_4],
        _ => &[],
    };
    missing.iter().try_for_each(|missing| connection.execute_batch(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_key_never_change() {
        let key = Key::new([0xff; 32]);
        assert_eq!([1, 2, 3].map(|version| key_hash(&key, version)), [-1, -1, 3_960_537_223_307_592_690]);
    }
}
