//! What the file looks like.
//!
//! - A shape's row id is the place of its add in the order, which only ever grows. So new rows are
//!   appended, whatever the number of shapes, and a batch fills pages instead of touching old ones.
//! - The definition, four fifths of the bytes, lies in a table of its own: a boot reads only the small
//!   columns, and a mark rewrites a small row.
//! - Nothing is declared unique but row ids. That handles and keys are unique is decided above, in
//!   memory; a unique index over wide random keys would cost two thirds of the rate at a million rows.
//! - Every row that is served carries a checksum, which is verified whenever the row is read: damage inside
//!   of a value leaves a page that SQLite finds sound.
//! - The index tables hold 64 bits of a hash and the row id, and nothing else. A hit is checked against
//!   the row. They are tables without row ids rather than indexes, so that a batch can insert in the
//!   order of hashes.

use rusqlite::Connection;

use crate::DiskIndexes;

/// "shap": so that no other application's file is taken for ours, nor ours for another's.
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"shap");

/// The tables of version 1, without the look-ups.
pub(crate) const V1: &str = "
    -- One row. `last_seq` is how far the order has come (I1, I6), `epoch` whose turn it is to write (C11).
    CREATE TABLE meta (
        id       INTEGER PRIMARY KEY CHECK (id = 1),
        last_seq INTEGER NOT NULL,
        total    INTEGER NOT NULL,
        indexed  INTEGER NOT NULL,
        epoch    INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (1, 0, 0, 0, 0);

    -- What memory keeps of a live shape. `state`: 1 started, 2 complete. `relations`: 4 bytes each, little
    -- endian, ascending.
    CREATE TABLE shape (
        id        INTEGER PRIMARY KEY,
        handle    TEXT    NOT NULL,
        key       BLOB    NOT NULL,
        hash      INTEGER NOT NULL,
        state     INTEGER NOT NULL,
        indexed   INTEGER NOT NULL,
        relations BLOB    NOT NULL
    ) STRICT;

    -- The rest. `dependencies`: keys, 32 bytes each.
    CREATE TABLE definition (
        id           INTEGER PRIMARY KEY,
        dependencies BLOB NOT NULL,
        body         BLOB NOT NULL
    ) STRICT;

    -- Shapes that a recovery removed and whose stored data has still to be deleted.
    CREATE TABLE to_clean (
        handle TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
";

/// What version 2 adds. A row that was written by version 1 has no checksum until it is written again.
pub(crate) const V2: &str = "
    -- See `checksum.rs` for what each is over.
    ALTER TABLE meta ADD COLUMN checksum INTEGER;
    ALTER TABLE shape ADD COLUMN checksum INTEGER;
    ALTER TABLE definition ADD COLUMN checksum INTEGER;
    ALTER TABLE to_clean ADD COLUMN checksum INTEGER;

    -- What batches have done to shapes that were there before them, for those who follow: see change_log.rs.
    -- The oldest row only says that nothing is known of it and of what came before.
    CREATE TABLE change_log (
        through  INTEGER PRIMARY KEY,
        changed  BLOB    NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    -- Nobody reads what the oldest row says, so nobody checks it.
    INSERT INTO change_log (through, changed, checksum) SELECT last_seq, x'', 0 FROM meta;

    -- When shapes were last read, in microseconds since the Unix epoch. Not in `shape`: so many of them
    -- lie on a page, and saving those of very many shapes touches few pages.
    CREATE TABLE last_read (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL
    ) STRICT;

    -- When owners found the shapes up to a place in the order: those which nobody has read count as read
    -- when the first owner found them.
    CREATE TABLE opening (
        through INTEGER PRIMARY KEY,
        at      INTEGER NOT NULL
    ) STRICT;

    -- Who has the turn `epoch` of `meta`. One row; for people.
    CREATE TABLE owner (
        id      INTEGER PRIMARY KEY CHECK (id = 1),
        process INTEGER NOT NULL,
        host    TEXT    NOT NULL,
        since   INTEGER NOT NULL
    ) STRICT;
";

/// The index tables of [`DiskIndexes::Maintained`].
pub(crate) const LOOKUPS: &str = "
    CREATE TABLE handle_lookup (
        hash INTEGER NOT NULL,
        id   INTEGER NOT NULL,
        PRIMARY KEY (hash, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE key_lookup (
        hash INTEGER NOT NULL,
        id   INTEGER NOT NULL,
        PRIMARY KEY (hash, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE relation_lookup (
        relation INTEGER NOT NULL,
        id       INTEGER NOT NULL,
        PRIMARY KEY (relation, id)
    ) STRICT, WITHOUT ROWID;
";

/// Undoes [`LOOKUPS`].
pub(crate) const DROP_LOOKUPS: &str =
    "DROP TABLE handle_lookup; DROP TABLE key_lookup; DROP TABLE relation_lookup;";

/// The version that the file says it has.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whose file it says it is.
pub(crate) fn application_id(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Whether there is anything in the file at all.
pub(crate) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Which index tables the file has.
pub(crate) fn disk_indexes(connection: &Connection) -> rusqlite::Result<DiskIndexes> {
    let present: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'handle_lookup'",
        [],
        |row| row.get(0),
    )?;
    Ok(if present { DiskIndexes::Maintained } else { DiskIndexes::Omitted })
}
