//! The table `cleanup`: shapes that are gone and whose stored data is not deleted yet (C12). And the table
//! `trusted_storage`: whether stored data without a shape is known to belong to this very database.

use rusqlite::{Connection, Row, functions::FunctionFlags, params};
use shape_meta_core::{
    Handle, Result, Seq,
    store_parts::{CleanupTask, Identity, checksum},
};

use crate::{
    error::{damaged_row, failed},
    format::{
        query::{each, one},
        row, sql,
    },
    ownership::file_id::FileOrigin,
};

/// Registers the function that [`insert_all`] uses.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("handle_checksum", 1, flags, |context| {
        Ok(context.get_raw(0).as_bytes_or_null()?.map(of_handle))
    })
}

fn of_handle(handle: &[u8]) -> i64 {
    checksum::of(Seq::ZERO, handle)
}

/// Adds the task of the shape with this row id, in the transaction of the caller. Does nothing if it is
/// there.
pub(crate) fn insert(connection: &Connection, id: i64, handle: &Handle) -> Result<u64> {
    let inserted = connection
        .prepare_cached(sql::INSERT_CLEANUP_TASK)
        .and_then(|mut statement| {
            statement.execute(params![id, handle.as_str(), of_handle(handle.as_bytes())])
        })
        .map_err(failed("record a cleanup task"))?;
    Ok(inserted as u64)
}

/// Adds the tasks of all shapes, in the transaction of the caller.
pub(crate) fn insert_all(connection: &Connection) -> Result<u64> {
    let inserted = connection
        .execute(sql::CLEANUP_TASKS_OF_ALL, [])
        .map_err(failed("record the cleanup tasks of all shapes"))?;
    Ok(inserted as u64)
}

/// Adds tasks for stored data without a shape, in the transaction of the caller.
pub(crate) fn insert_orphans<'h>(
    connection: &Connection,
    handles: impl IntoIterator<Item = &'h Handle>,
) -> Result<u64> {
    let lowest = one(connection, sql::LOWEST_CLEANUP_TASK, [], |row| row::integer(row, 0))?;
    let mut id = lowest.unwrap_or(0).min(0);
    let mut inserted = 0;
    for handle in handles {
        id -= 1;
        inserted += insert(connection, id, handle)?;
    }
    Ok(inserted)
}

/// Deletes a task, in the transaction of the caller. Does nothing if it is not there.
pub(crate) fn delete(connection: &Connection, task: &CleanupTask) -> Result<u64> {
    let deleted = connection
        .prepare_cached(sql::DELETE_CLEANUP_TASK)
        .and_then(|mut statement| statement.execute(params![task.id(), task.handle().as_str()]))
        .map_err(failed("acknowledge a cleanup"))?;
    Ok(deleted as u64)
}

/// Deletes a task whose handle a newer shape has, if that shape is stored, in the transaction of the caller.
pub(crate) fn drop_superseded(connection: &Connection, task: &CleanupTask, newer: Seq) -> Result<u64> {
    let deleted = connection
        .prepare_cached(sql::DROP_CLEANUP_TASK)
        .and_then(|mut statement| {
            statement.execute(params![task.id(), task.handle().as_str(), newer.get().cast_signed()])
        })
        .map_err(failed("drop a cleanup task"))?;
    Ok(deleted as u64)
}

/// Returns the number of tasks. Passes over the table, and verifies every row.
///
/// # Errors
///
/// `Corrupt` if a row does not match its checksum.
pub(crate) fn verify(connection: &Connection) -> Result<u64> {
    let mut count = 0;
    tasks(connection, i64::MIN, usize::MAX, |_| count += 1)?;
    Ok(count)
}

/// Returns the number of tasks. Passes over the table.
pub(crate) fn count(connection: &Connection) -> Result<u64> {
    let count = one(connection, sql::COUNT_CLEANUP_TASKS, [], |row| row::integer(row, 0))?;
    Ok(count.unwrap_or(0).cast_unsigned())
}

/// Passes up to `limit` tasks after this id to `visit`, in the order of ids.
///
/// # Errors
///
/// `Corrupt` if a row does not match its checksum.
pub(crate) fn tasks(
    connection: &Connection,
    after: i64,
    limit: usize,
    mut visit: impl FnMut(CleanupTask),
) -> Result<()> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    each(connection, sql::CLEANUP_TASKS, [after, limit], |found| {
        visit(task(found)?);
        Ok(true)
    })
}

fn task(found: &Row<'_>) -> Result<CleanupTask> {
    let id = row::integer(found, 0)?;
    let place = || format!("row {id} of table `cleanup`");
    let handle = row::handle(found, 1, place)?;
    let checksum: Option<i64> = found.get(2).map_err(failed("read the cleanup tasks"))?;
    // Rows that version 1 has written have no checksum.
    if checksum.is_some_and(|sum| sum != of_handle(handle.as_bytes())) {
        return Err(damaged_row(&place(), "its checksum does not match"));
    }
    Ok(CleanupTask::new(id, handle))
}

/// What stored data without a shape is known to belong to: a database, in one file. A copy of the file has
/// the identity of the database, but may be older than the stored data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TrustedAs(Vec<u8>);

impl TrustedAs {
    /// `None` for a database without an identity.
    pub(crate) fn new(database: Option<Identity>, file: &FileOrigin) -> Option<Self> {
        let mut bytes = database?.as_bytes().to_vec();
        bytes.extend_from_slice(file.as_bytes());
        Some(Self(bytes))
    }
}

/// Returns whether stored data without a shape is known to belong to this database.
///
/// False for a database that was just created, restored, or rebuilt after damage: it has a new identity, or
/// is in another file. Such a database cannot tell data that it has lost track of from data that it never
/// knew of.
pub(crate) fn is_storage_trusted(connection: &Connection, expected: Option<&TrustedAs>) -> Result<bool> {
    let trusted = one(connection, sql::TRUSTED_STORAGE, [], |found| {
        let bytes = row::bytes(found, 0)?;
        let is_sound = row::integer(found, 1)? == checksum::of(Seq::new(1), &bytes);
        Ok(is_sound.then_some(bytes))
    })?;
    // A damaged row is no trust.
    Ok(trusted.flatten().map(TrustedAs).is_some_and(|trusted| Some(&trusted) == expected))
}

/// Ends the trust in the stored data, in the transaction of the caller.
pub(crate) fn distrust_storage(connection: &Connection) -> Result<()> {
    connection
        .prepare_cached(sql::DELETE_TRUSTED_STORAGE)
        .and_then(|mut statement| statement.execute([]))
        .map_err(failed("record that the stored data is not trusted"))?;
    Ok(())
}

/// Records that stored data without a shape belongs to this database, in the transaction of the caller.
pub(crate) fn trust_storage(connection: &Connection, trusted: &TrustedAs) -> Result<()> {
    connection
        .prepare_cached(sql::SET_TRUSTED_STORAGE)
        .and_then(|mut statement| {
            statement.execute(params![trusted.0, checksum::of(Seq::new(1), &trusted.0)])
        })
        .map_err(failed("record that the stored data is trusted"))?;
    Ok(())
}
