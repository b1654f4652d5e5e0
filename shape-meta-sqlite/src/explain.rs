use std::fmt;

use shape_meta_core::Result;

use crate::{Lookups, SqliteStore, error::failed, operation::Operation, sql};

/// How SQLite runs one of the store's statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the statement is for.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
    /// The steps, as `EXPLAIN QUERY PLAN` words them. Empty for a plain insert.
    pub steps: Vec<String>,
}

impl fmt::Display for Plan {
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
    pub fn explain(&self) -> Result<Vec<Plan>> {
        let more = match self.lookups() {
            Lookups::OnDisk => sql::WITH_LOOKUPS,
            Lookups::Mirrored => &[],
        };
        self.connections.write(Operation::Explain, |connection| {
            let plan = |&(name, sql): &sql::Named| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let steps =
                    statement.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>()?;
                Ok(Plan { name, sql, steps })
            };
            sql::ALWAYS
                .iter()
                .chain(more)
                .map(plan)
                .collect::<rusqlite::Result<_>>()
                .map_err(failed("ask for the query plans"))
        })
    }
}
