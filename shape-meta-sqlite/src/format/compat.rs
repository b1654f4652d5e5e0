use rusqlite::Connection;

/// What version 1 lacks. The rows of its tables have no checksums, and of all else there is nothing.
const SINCE_1: &str = "
    CREATE TEMP VIEW meta AS SELECT *, NULL AS checksum FROM main.meta;
    CREATE TEMP VIEW shape AS SELECT *, NULL AS checksum FROM main.shape;
    CREATE TEMP VIEW definition AS SELECT *, NULL AS checksum FROM main.definition;
    CREATE TEMP VIEW to_clean AS SELECT *, NULL AS checksum FROM main.to_clean;
    CREATE TEMP TABLE change_log (through INTEGER PRIMARY KEY, changed BLOB, checksum INTEGER);
    CREATE TEMP TABLE last_read (id INTEGER PRIMARY KEY, at INTEGER);
    CREATE TEMP TABLE opening (through INTEGER PRIMARY KEY, at INTEGER);
    CREATE TEMP TABLE owner (id INTEGER PRIMARY KEY, process INTEGER, host TEXT, since INTEGER);
";

/// Lets a connection that only reads see a database of an earlier version as if it were of this one, so that
/// the same statements serve: views and tables of its own, in memory, stand before those of the file.
pub(crate) fn shadow(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    match version {
        1 => connection.execute_batch(SINCE_1),
        _ => Ok(()),
    }
}
