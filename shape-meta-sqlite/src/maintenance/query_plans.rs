use std::fmt;

use rusqlite::Connection;
use shape_meta_core::Result;

use crate::{
    DiskIndexes, SqliteStore,
    connection::operation::Operation,
    error::failed,
    format::{migrate, sql},
};

/// How SQLite runs one of the store's statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryPlan {
    /// What the statement is for.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
    /// The steps, as `EXPLAIN QUERY PLAN` words them. Empty for a plain insert.
    pub steps: Vec<String>,
}

impl fmt::Display for QueryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.steps.join("; "))
    }
}

impl SqliteStore {
    /// The query plan of every statement that this store runs, as SQLite would choose it now.
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

/// The plans of all statements for a database with these look-ups. One of an earlier version lacks what some of
/// them ask for; those are left out.
pub(crate) fn plans(
    connection: &Connection,
    disk_indexes: DiskIndexes,
    version: u32,
) -> Result<Vec<QueryPlan>> {
    let more = match disk_indexes {
        DiskIndexes::Maintained => sql::WITH_LOOKUPS,
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
        .chain(more)
        .map(plan)
        .filter(|plan| version == migrate::CURRENT || plan.is_ok())
        .collect::<rusqlite::Result<_>>()
        .map_err(failed("ask for the query plans"))
}
