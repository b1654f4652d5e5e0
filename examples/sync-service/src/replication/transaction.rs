use std::sync::Arc;

/// A committed transaction, with its changes of published tables.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) xid: u32,
    /// The end of its commit in the WAL. It grows from one transaction to the next.
    pub(crate) commit_end: u64,
    /// The changes, each with the table.
    pub(crate) changes: Vec<(Arc<Columns>, Change)>,
}

impl Transaction {
    /// Returns the OIDs of the changed tables, each once.
    pub(crate) fn relations(&self) -> Vec<u32> {
        let mut relations: Vec<_> = self.changes.iter().map(|(table, _)| table.oid).collect();
        relations.sort_unstable();
        relations.dedup();
        relations
    }
}

/// The columns of a table as the changes have them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Name, OID of the type, and type modifier of each column.
    pub(crate) columns: Vec<(String, u32, i32)>,
}

/// The texts of all columns; `None` is `NULL`.
pub(crate) type Row = Vec<Option<String>>;

#[derive(Debug)]
pub(crate) enum Change {
    Insert {
        new: Row,
    },
    Update {
        old: Row,
        new: Row,
    },
    Delete {
        old: Row,
    },
    /// The shapes of the table have to be made again: it was truncated, or the old row is not known.
    Restart,
}
