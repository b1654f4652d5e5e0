//! The contents of a database file, read through a connection of its own.

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::{Connection, types::Value};
use shape_meta_core::{Error, ScanItem};
use shape_meta_sqlite::Inspector;

/// The name of a database file in its directory.
pub const DATABASE_FILE: &str = "shape-meta.sqlite3";

/// Every row of every table, in the order of their ids.
///
/// Values that differ by design are left out: the columns of `meta` in `RUN_COLUMNS`, and the tables in
/// `RUN_TABLES`.
#[derive(Debug, PartialEq)]
pub struct Rows(BTreeMap<String, Vec<Row>>);

/// The tables that describe a run and not its shapes: its batches, its openings and their owners, last-read
/// times, and which stored data has still to be deleted. (A shape that was removed before it was committed
/// leaves no cleanup task if its handle is taken again.)
const RUN_TABLES: [&str; 7] =
    ["change_log", "cleanup", "last_read", "lineage", "opening", "owner", "trusted_storage"];

/// The columns of `meta` that describe a run: the epoch, which counts openings, the random identities of the
/// database and of its opening, and the checksum of the row.
const RUN_COLUMNS: [&str; 4] = ["epoch", "database_id", "opening_id", "checksum"];

type Row = Vec<(String, Value)>;

impl Rows {
    /// Reads all rows in one transaction.
    pub fn of(directory: &Path) -> Self {
        Self::read(&mut raw_connection(directory)).expect("the database can be read")
    }

    fn read(connection: &mut Connection) -> rusqlite::Result<Self> {
        let transaction = connection.transaction()?;
        let tables: Vec<String> = transaction
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut rows = BTreeMap::new();
        for table in tables.into_iter().filter(|table| !RUN_TABLES.contains(&table.as_str())) {
            let mut statement = transaction.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
            let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
            let all = statement.query_map([], |row| {
                let differs = |name: &str| table == "meta" && RUN_COLUMNS.contains(&name);
                let cells = columns.iter().enumerate().filter(|(_, name)| !differs(name));
                cells.map(|(at, name)| Ok((name.clone(), row.get(at)?))).collect()
            })?;
            let all = all.collect::<rusqlite::Result<_>>()?;
            rows.insert(table, all);
        }
        Ok(Self(rows))
    }

    /// Removes the look-up tables, which a database below a full mirror does not have.
    pub fn without_lookup_tables(mut self) -> Self {
        self.0.retain(|table, _| !table.ends_with("_lookup"));
        self
    }

    /// Replaces the rows of definitions by the definitions in them. Those that one batch adds share rows, and
    /// batches differ by design.
    pub fn with_definitions_of(mut self, directory: &Path) -> Self {
        let mut definitions = Vec::new();
        let inspector = Inspector::open(directory).expect("the database can be read");
        let each = |item: Result<ScanItem, Error>| {
            let record = item.expect("it is sound").record;
            let dependencies: Vec<u8> = record.dependencies.iter().flat_map(|key| *key.as_bytes()).collect();
            definitions.push(vec![
                ("id".to_owned(), Value::Integer(record.entry.created().get().cast_signed())),
                ("dependencies".to_owned(), Value::Blob(dependencies)),
                ("body".to_owned(), Value::Blob(record.definition.to_vec())),
            ]);
            true
        };
        inspector.scan(each).expect("the database can be read");
        self.0.insert("definition".to_owned(), definitions);
        self
    }

    /// Returns the number of rows in a table: zero if the table is missing.
    pub fn count(&self, table: &str) -> usize {
        self.0.get(table).map_or(0, Vec::len)
    }

    /// Whether the table exists.
    pub fn has_table(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }
}

/// Opens the database of a store with plain SQLite, as another process would.
pub fn raw_connection(directory: &Path) -> Connection {
    Connection::open(directory.join(DATABASE_FILE)).expect("the database opens")
}

/// Overwrites most of the database file of a closed store, and returns the new contents of the file.
pub fn corrupt_file(directory: &Path) -> Vec<u8> {
    // A WAL that was left behind would hide the damage.
    let busy = raw_connection(directory).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    assert_eq!(busy, Ok(0), "no other connection uses the WAL");
    let path = directory.join(DATABASE_FILE);
    let mut bytes = fs::read(&path).expect("the file can be read");
    bytes[1_000..].fill(0xa5);
    fs::write(&path, &bytes).expect("the file can be written");
    bytes
}
