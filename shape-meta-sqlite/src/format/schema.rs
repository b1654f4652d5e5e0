//! The tables of the database.
//!
//! - A shape's row id is the sequence number of its add, which only grows. So new rows are appended, whatever
//!   the number of shapes, and a batch fills new pages instead of changing old ones.
//! - The definition, four fifths of the bytes, is in a table of its own: a boot reads only the small columns,
//!   and a mark rewrites a small row. Definitions of one batch share rows, in which they are compressed.
//! - Only row ids are unique. The layer above decides in memory that handles and keys are unique; a unique
//!   index over wide random keys would cost two thirds of the rate at a million rows.
//! - Every row that is served has a checksum, which is verified whenever the row is read: damage inside a
//!   value leaves a page that SQLite finds sound.
//! - The index tables hold 64 bits of a hash and the row id, and nothing else. A hit is compared with the
//!   row. They are tables without row ids rather than indexes, so that a batch can insert in the order of
//!   hashes.

use rusqlite::Connection;

use crate::DiskIndexes;

/// The application id of our files, "shap". It keeps files of other applications and ours apart.
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"shap");

/// Creates the tables of version 1, without the index tables.
pub(crate) const V1: &str = "
    -- One row. `last_seq` is the durable watermark (I1, I6), `epoch` the fencing token of the owner (C11).
    CREATE TABLE meta (
        id       INTEGER PRIMARY KEY CHECK (id = 1),
        last_seq INTEGER NOT NULL,
        total    INTEGER NOT NULL,
        indexed  INTEGER NOT NULL,
        epoch    INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (1, 0, 0, 0, 0);

    -- What memory keeps of a live shape. `state`: 0 pending, 1 started, 3 complete. `relations`: 4 bytes each, little
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

    -- The definition of a live shape. `dependencies`: keys, 32 bytes each.
    CREATE TABLE definition (
        id           INTEGER PRIMARY KEY,
        dependencies BLOB NOT NULL,
        body         BLOB NOT NULL
    ) STRICT;

    -- Handles of shapes that are gone and whose stored data is not deleted yet.
    CREATE TABLE to_clean (
        handle TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
";

/// Migrates version 1 to version 2. A row of version 1 has no checksum until it is written again.
pub(crate) const V2: &str = "
    -- `checksum.rs` defines the checksums.
    ALTER TABLE meta ADD COLUMN checksum INTEGER;
    ALTER TABLE shape ADD COLUMN checksum INTEGER;
    ALTER TABLE definition ADD COLUMN checksum INTEGER;
    ALTER TABLE to_clean ADD COLUMN checksum INTEGER;

    -- Changes of batches to shapes that existed before them, for standbys: see change_log.rs. The oldest row is
    -- the floor: its changes and those before it are unknown.
    CREATE TABLE change_log (
        through  INTEGER PRIMARY KEY,
        changed  BLOB    NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    -- The content of the oldest row is never read, so its checksum is never verified.
    INSERT INTO change_log (through, changed, checksum) SELECT last_seq, x'', 0 FROM meta;

    -- Last-read times, in microseconds since the Unix epoch. Not a column of `shape`: many of these small rows
    -- share a page, so a save writes few pages.
    CREATE TABLE last_read (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL
    ) STRICT;

    -- The times of openings, each with the last sequence number that its owner found. A shape without reads
    -- counts as read at the first opening that found it.
    CREATE TABLE opening (
        through INTEGER PRIMARY KEY,
        at      INTEGER NOT NULL
    ) STRICT;

    -- The owner with the `epoch` of `meta`. One row; for operators.
    CREATE TABLE owner (
        id      INTEGER PRIMARY KEY CHECK (id = 1),
        process INTEGER NOT NULL,
        host    TEXT    NOT NULL,
        since   INTEGER NOT NULL
    ) STRICT;
";

/// Migrates version 2 to version 3.
pub(crate) const V3: &str = "
    -- The hash of a key in the index tables is another one. The open builds them anew. `lookup_hash.rs`.
    DROP TABLE IF EXISTS handle_lookup;
    DROP TABLE IF EXISTS key_lookup;
    DROP TABLE IF EXISTS relation_lookup;

    -- The identity of the database, and of the opening that owns it: 16 random bytes each, or none. `identity.rs`.
    ALTER TABLE meta ADD COLUMN database_id BLOB NOT NULL DEFAULT x'';
    ALTER TABLE meta ADD COLUMN opening_id BLOB NOT NULL DEFAULT x'';

    -- The latest openings of this very database, each with the last sequence number that it found. `lineage.rs`.
    CREATE TABLE lineage (
        epoch      INTEGER PRIMARY KEY,
        opening_id BLOB    NOT NULL,
        began_at   INTEGER NOT NULL,
        checksum   INTEGER NOT NULL
    ) STRICT;

    -- Cleanup tasks: shapes that are gone and whose stored data is not deleted yet (C12). `id`: the sequence number
    -- of the shape's add, so that tasks of removals in order are appended; negative for stored data without a shape.
    CREATE TABLE cleanup (
        id       INTEGER PRIMARY KEY,
        handle   TEXT    NOT NULL,
        checksum INTEGER
    ) STRICT;
    INSERT INTO cleanup (id, handle, checksum)
        SELECT -row_number() OVER (ORDER BY handle), handle, checksum FROM to_clean;
    DROP TABLE to_clean;

    -- The database, by its identity and the origin of its file, whose stored data is known to belong to it. At most
    -- one row. `cleanup.rs`.
    CREATE TABLE trusted_storage (
        id          INTEGER PRIMARY KEY CHECK (id = 1),
        database_id BLOB    NOT NULL,
        checksum    INTEGER NOT NULL
    ) STRICT;
";

/// Migrates version 3 to version 4.
pub(crate) const V4: &str = "
    -- The time of creation, in microseconds since the Unix epoch; 0 in a row of an earlier version.
    ALTER TABLE shape ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;

    -- The stamp of the application. At most one row. `rekey_through`: while definitions are encoded anew, the last
    -- shape that has the former encoding, and 0 otherwise; `next_*` is then the stamp of the others. `stamp.rs`.
    CREATE TABLE stamp (
        id            INTEGER PRIMARY KEY CHECK (id = 1),
        version       INTEGER NOT NULL,
        source        TEXT    NOT NULL,
        rekey_through INTEGER NOT NULL,
        next_version  INTEGER NOT NULL,
        next_source   TEXT    NOT NULL,
        checksum      INTEGER NOT NULL
    ) STRICT;
";

/// Migrates version 4 to version 5.
pub(crate) const V5: &str = "
    -- NULL: the row is one definition. Otherwise it is a block with those of shapes from `first` to `id`;
    -- `dependencies` is the list of its definitions with their checksums, `body` their content. `block.rs`.
    ALTER TABLE definition ADD COLUMN first INTEGER;
";

/// Creates the index tables of [`DiskIndexes::Maintained`].
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

/// Drops the index tables.
pub(crate) const DROP_LOOKUPS: &str =
    "DROP TABLE handle_lookup; DROP TABLE key_lookup; DROP TABLE relation_lookup;";

/// Returns the schema version of the file.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Returns the application id of the file.
pub(crate) fn application_id(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Returns whether the file has no tables at all.
pub(crate) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Returns which index tables the file has.
pub(crate) fn disk_indexes(connection: &Connection) -> rusqlite::Result<DiskIndexes> {
    let present: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'handle_lookup'",
        [],
        |row| row.get(0),
    )?;
    Ok(if present { DiskIndexes::Maintained } else { DiskIndexes::Omitted })
}
