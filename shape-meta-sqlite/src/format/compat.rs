use rusqlite::Connection;

/// The tables and columns that version 1 lacks: checksums, which are null, identities and tables, which are
/// empty.
const SINCE_1: &str = "
    CREATE TEMP VIEW meta AS SELECT *, NULL AS checksum, x'' AS database_id, x'' AS opening_id FROM main.meta;
    CREATE TEMP VIEW shape AS SELECT *, NULL AS checksum FROM main.shape;
    CREATE TEMP VIEW definition AS SELECT *, NULL AS checksum FROM main.definition;
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

/// Shadows the tables of an earlier version with temporary views and tables of this connection, so that the
/// statements of the current version can read them. For connections that only read.
pub(crate) fn shadow(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    match version {
        1 => connection.execute_batch(SINCE_1)?,
        2 => connection.execute_batch(SINCE_2)?,
        _ => return Ok(()),
    }
    connection.execute_batch(SINCE_2_TABLES)
}
