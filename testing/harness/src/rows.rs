//! What is in a database file, read by a stranger.

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::{Connection, types::Value};

/// The name of a database file in its directory.
pub const FILE: &str = "shape-meta.sqlite3";

/// Every row of every table, in the order of their ids.
///
/// Left out is what differs by design: the owner's turn (`meta.epoch`), which counts openings, the checksum
/// of the row that it stands in, and the tables of [`OF_THE_RUN`].
#[derive(Debug, PartialEq)]
pub struct Rows(BTreeMap<String, Vec<Row>>);

/// What tells of a run rather than of its shapes: which batches it made, when it was opened and by whom, and
/// when shapes were read.
const OF_THE_RUN: [&str; 4] = ["change_log", "last_read", "opening", "owner"];

type Row = Vec<(String, Value)>;

impl Rows {
    /// Reads them all, in one transaction.
    pub fn of(directory: &Path) -> Self {
        Self::read(&mut stranger(directory)).expect("a stranger can read the database")
    }

    fn read(connection: &mut Connection) -> rusqlite::Result<Self> {
        let transaction = connection.transaction()?;
        let tables: Vec<String> = transaction
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut rows = BTreeMap::new();
        for table in tables.into_iter().filter(|table| !OF_THE_RUN.contains(&table.as_str())) {
            let mut statement = transaction.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
            let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
            let all = statement.query_map([], |row| {
                let differs = |name: &str| table == "meta" && ["epoch", "checksum"].contains(&name);
                let cells = columns.iter().enumerate().filter(|(_, name)| !differs(name));
                cells.map(|(at, name)| Ok((name.clone(), row.get(at)?))).collect()
            })?;
            let all = all.collect::<rusqlite::Result<_>>()?;
            rows.insert(table, all);
        }
        Ok(Self(rows))
    }

    /// Without the index tables, which a database below a full mirror does not have.
    pub fn without_lookups(mut self) -> Self {
        self.0.retain(|table, _| !table.ends_with("_lookup"));
        self
    }

    /// How many there are in a table; none if it is not there.
    pub fn count(&self, table: &str) -> usize {
        self.0.get(table).map_or(0, Vec::len)
    }

    /// Whether there is a table of this name.
    pub fn has(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }
}

/// The database of a store, as a stranger would open it.
pub fn stranger(directory: &Path) -> Connection {
    Connection::open(directory.join(FILE)).expect("SQLite opens it")
}

/// Damages the database of a store that is closed, and returns the file as it is then.
pub fn damage(directory: &Path) -> Vec<u8> {
    // What is in a log that somebody left behind would hide the damage.
    let emptied = stranger(directory).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    assert_eq!(emptied, Ok(0), "nobody uses the log");
    let path = directory.join(FILE);
    let mut bytes = fs::read(&path).expect("it can be read");
    bytes[1_000..].fill(0xa5);
    fs::write(&path, &bytes).expect("it can be written");
    bytes
}
