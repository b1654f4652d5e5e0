use std::ops::Deref;

use rusqlite::{Connection, Transaction};
use shape_meta_core::Result;

use super::Inspector;
use crate::error::failed;

/// The database at one moment. A call by a callback of another call sees the moment of that one: SQLite has
/// one transaction for each connection.
pub(super) struct Snapshot<'a> {
    connection: &'a Connection,
    _transaction: Option<Transaction<'a>>,
}

impl Inspector {
    pub(super) fn snapshot(&self, doing: &'static str) -> Result<Snapshot<'_>> {
        Snapshot::of(&self.connection, doing)
    }
}

impl<'a> Snapshot<'a> {
    pub(super) fn of(connection: &'a Connection, doing: &'static str) -> Result<Self> {
        let transaction = connection.is_autocommit().then(|| connection.unchecked_transaction());
        Ok(Self { connection, _transaction: transaction.transpose().map_err(failed(doing))? })
    }
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
