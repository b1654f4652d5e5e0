use rusqlite::{Connection, Transaction, TransactionBehavior};
use shape_meta_core::{Change, Error, ErrorKind, OnOtherStamp, Result, Stamp, StampCheck, StampOutcome};

use super::{owned::OwnedDatabase, rekey::Pass};
use crate::{
    SqliteOpenReport, SqliteOptions,
    error::failed,
    format::{
        meta::Meta,
        stamp::{Rekeying, StampRow},
    },
    ownership::opening::Opening,
    write::{
        batch::BatchWriter,
        change_log::{self, ChangeLogSize},
    },
};

const DOING: &str = "stamp the database";

/// Step 6: a database whose shapes were made with the stamp of the application.
pub(super) struct StampedDatabase {
    connection: Connection,
    opening: Opening,
    report: SqliteOpenReport,
}

/// What an open does about the stamp that it has found.
pub(super) enum Plan<'a> {
    /// Nothing.
    Nothing,
    /// Writes the stamp of the application. The database has this one, or none.
    Record(Option<Stamp>),
    /// Removes all shapes, which have this stamp.
    RemoveAll(Stamp),
    /// Re-keys the shapes, or goes on with that.
    Rekey(StampRow, &'a shape_meta_core::Rekey),
}

/// Reads the stamp, and plans what to do about it. Changes nothing.
///
/// # Errors
///
/// `OtherStamp` if the database is refused. That must come before the open takes the ownership.
pub(super) fn plan<'a>(connection: &Connection, options: &'a SqliteOptions) -> Result<Plan<'a>> {
    let row = StampRow::read(connection)?;
    let Some(check) = &options.stamp else {
        return match row {
            Some(StampRow { stamp, rekey: Some(rekey) }) => Err(interrupted(&stamp, &rekey)),
            _ => Ok(Plan::Nothing),
        };
    };
    let Some(row) = row else { return Ok(Plan::Record(None)) };
    let found = row.stamp.clone();
    match (check.reaction(&found), &row.rekey) {
        (Some(OnOtherStamp::RemoveAll), _) => Ok(Plan::RemoveAll(found)),
        (Some(OnOtherStamp::Rekey(rekey)), None) => Ok(Plan::Rekey(row, rekey)),
        (Some(OnOtherStamp::Rekey(rekey)), Some(begun)) if begun.next == *check.stamp() => {
            Ok(Plan::Rekey(row, rekey))
        }
        (_, Some(begun)) => Err(interrupted(&found, begun)),
        (None, None) => Ok(Plan::Nothing),
        (Some(OnOtherStamp::Keep), None) => Ok(Plan::Record(Some(found))),
        (Some(_), None) => Err(check.refusal(&found)),
    }
}

/// Returns the refusal of a database of which some shapes are re-keyed, and others are not.
fn interrupted(from: &Stamp, rekey: &Rekeying) -> Error {
    let message = format!(
        "a re-key of the shapes from {from} to {} was interrupted, and some of them are done; no shape was changed. \
         Open it with the application that has the latter and the same re-key, which goes on, or remove all shapes",
        rekey.next
    );
    Error::new(ErrorKind::OtherStamp, message)
}

impl StampedDatabase {
    /// Does what was planned. Each step is a transaction that leaves a consistent database: after a crash,
    /// the next open goes on.
    ///
    /// # Errors
    ///
    /// Those of the database, and those of the application's re-key.
    pub(super) fn stamp(owned: OwnedDatabase, plan: Plan<'_>, options: &SqliteOptions) -> Result<Self> {
        let (mut connection, mut opening, mut report) = owned.into_parts();
        let Some(check) = &options.stamp else { return Ok(Self { connection, opening, report }) };
        report.stamp = match plan {
            Plan::Nothing => StampOutcome::Unchanged,
            Plan::Record(found) => {
                let transaction = begin(&mut connection)?;
                opening.check(&Meta::read(&transaction)?)?;
                record(&transaction, check)?;
                transaction.commit().map_err(failed(DOING))?;
                found.map_or(StampOutcome::Recorded, |found| StampOutcome::Kept { found })
            }
            Plan::RemoveAll(found) => {
                let removed = remove_all(&mut connection, &mut opening, options, check)?;
                StampOutcome::RemovedAll { found, removed }
            }
            Plan::Rekey(row, rekey) => {
                Pass::new(row, rekey, check, options).run(&mut connection, &mut opening)?
            }
        };
        let meta = Meta::read(&connection)?;
        (report.counts, report.last_seq) = (meta.counts, meta.last_seq);
        Ok(Self { connection, opening, report })
    }

    /// Returns the writer, its opening, and the report.
    pub(super) fn into_parts(self) -> (Connection, Opening, SqliteOpenReport) {
        (self.connection, self.opening, self.report)
    }
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(DOING))
}

fn record(connection: &Connection, check: &StampCheck) -> Result<()> {
    StampRow { stamp: check.stamp().clone(), rekey: None }.write(connection)
}

/// Removes all shapes, and writes their cleanup tasks, in one transaction. Returns their number.
fn remove_all(
    connection: &mut Connection,
    opening: &mut Opening,
    options: &SqliteOptions,
    check: &StampCheck,
) -> Result<u64> {
    let size = ChangeLogSize::read(connection)?;
    let transaction = begin(connection)?;
    let mut meta = Meta::read(&transaction)?;
    opening.check(&meta)?;
    let removed = meta.counts.total;
    let mut writer = BatchWriter::new(&transaction, options.disk_indexes, &meta)?
        .with_cleanup_tasks(options.cleanup_tasks);
    writer.apply(&Change::Reset)?;
    let logged;
    (meta.counts, logged) = writer.finish()?;
    // As a recovery, it takes no sequence number.
    change_log::append(&transaction, meta.last_seq, &logged, &size)?;
    meta.write(&transaction)?;
    record(&transaction, check)?;
    transaction.commit().map_err(failed(DOING))?;
    Ok(removed)
}
