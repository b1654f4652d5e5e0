use std::fmt;

use rusqlite::Connection;
use shape_meta_core::Result;

use crate::{
    DiskIndexes, SqliteStore,
    connection::operation::Operation,
    error::failed,
    format::{migrate, sql},
};

/// The query plan that SQLite chooses for one of the store's statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryPlan {
    /// The name of the statement.
    pub name: &'static str,
    /// The SQL of the statement.
    pub sql: &'static str,
    /// The steps, in the words of `EXPLAIN QUERY PLAN`. Empty for a plain insert.
    pub steps: Vec<String>,
}

impl fmt::Display for QueryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.steps.join("; "))
    }
}

impl SqliteStore {
    /// Returns the query plan of every statement that this store runs, as SQLite would choose it now.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn query_plans(&self) -> Result<Vec<QueryPlan>> {
        let disk_indexes = self.disk_indexes();
        self.connections
            .write(Operation::QueryPlans, |connection| plans(connection, disk_indexes, migrate::CURRENT))
    }
}

/// Returns the plans of all statements for a database with these index tables. A database of an earlier
/// version lacks some tables; statements that need them are left out.
pub(crate) fn plans(
    connection: &Connection,
    disk_indexes: DiskIndexes,
    version: u32,
) -> Result<Vec<QueryPlan>> {
    let with_indexes = match disk_indexes {
        DiskIndexes::Maintained => sql::WITH_DISK_INDEXES,
        DiskIndexes::Omitted => &[],
    };
    let plan = |&(name, sql): &sql::Named| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let steps = statement.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>()?;
        Ok(QueryPlan { name, sql, steps })
    };
    sql::ALWAYS
        .iter()
        .chain(sql::SINCE_VERSION_2)
        .chain(sql::SINCE_VERSION_3)
        .chain(sql::SINCE_VERSION_4)
        .chain(sql::SINCE_VERSION_5)
        .chain(with_indexes)
        .map(plan)
        .filter(|plan| version == migrate::CURRENT || plan.is_ok())
        .collect::<rusqlite::Result<_>>()
        .map_err(failed("read the query plans"))
}
