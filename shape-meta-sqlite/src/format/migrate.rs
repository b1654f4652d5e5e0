use rusqlite::{Connection, Transaction, TransactionBehavior};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    error::failed,
    format::{meta::Meta, schema},
};

/// A step of the migration: from the version that is its position in the list to the next.
pub(crate) type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The steps, oldest first. The first one creates the tables of an empty file. A released step never changes:
/// a file of every released version is in `tests/fixtures` and must open.
pub(crate) const STEPS: &[Step] = &[
    |transaction| {
        transaction.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
        transaction.execute_batch(schema::V1)
    },
    |transaction| transaction.execute_batch(schema::V2),
    |transaction| {
        transaction.execute_batch(schema::V3)?;
        Meta::migrate(transaction, 3)
    },
    |transaction| {
        transaction.execute_batch(schema::V4)?;
        Meta::migrate(transaction, 4)
    },
    |transaction| {
        transaction.execute_batch(schema::V5)?;
        Meta::migrate(transaction, 5)
    },
];

/// The schema version that this crate writes.
pub(crate) const CURRENT: u32 = STEPS.len() as u32;

/// Migrates the database to the version after the last of these steps. Returns the version that it had.
///
/// Each step is a transaction of its own: a crash between two steps leaves a sound database of a version in
/// between.
pub(crate) fn migrate(connection: &mut Connection, steps: &[Step]) -> Result<u32> {
    let found = schema::version(connection).map_err(failed("read the schema version"))?;
    for (version, step) in (0..).zip(steps).skip(found as usize) {
        let next: u32 = version + 1;
        let doing = || format!("migrate the database from schema version {version} to {next}");
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| failed(doing())(error))?;
        step(&transaction)
            .and_then(|()| transaction.pragma_update(None, "user_version", next))
            .and_then(|()| transaction.commit())
            .map_err(|error| failed(doing())(error))?;
    }
    Ok(found)
}

/// Returns `UnsupportedSchema` for a database that a newer version of this crate has written.
pub(crate) fn refuse_newer(version: u32) -> Result<()> {
    if version <= CURRENT {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::UnsupportedSchema,
        format!(
            "the database has schema version {version}, and this build of shape-meta supports versions up to \
             {CURRENT}; it was not changed. Open it with the newer build, or choose another directory"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_runs_once_and_a_failed_one_changes_nothing() -> Result<(), Error> {
        let mut connection = Connection::open_in_memory().expect("memory");
        let first: Step = |transaction| transaction.execute_batch("CREATE TABLE a (x)");
        let broken: Step = |transaction| transaction.execute_batch("CREATE TABLE b (x); CREATE TABLE a (x)");
        let second: Step = |transaction| transaction.execute_batch("CREATE TABLE c (x)");

        assert!(migrate(&mut connection, &[first, broken]).is_err());
        assert_eq!(schema::version(&connection).expect("reads"), 1);
        let tables: String = connection
            .query_row("SELECT group_concat(name) FROM sqlite_schema", [], |row| row.get(0))
            .expect("reads");
        assert_eq!(tables, "a", "the failed step was rolled back");

        assert_eq!(migrate(&mut connection, &[first, second])?, 1);
        assert_eq!(migrate(&mut connection, &[first, second])?, 2);
        Ok(())
    }
}
