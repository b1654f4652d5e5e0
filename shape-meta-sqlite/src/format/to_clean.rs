//! The table `to_clean`: handles of shapes that are gone and whose stored data is not deleted yet.

use rusqlite::Connection;
use shape_meta_core::{Handle, Result, Seq};

use crate::{
    error::{damaged_row, failed},
    format::{checksum, query::each, row, sql},
};

/// Adds a handle, in the transaction of the caller. Does nothing if it is there.
pub(crate) fn insert(connection: &Connection, handle: &Handle) -> Result<()> {
    let sum = checksum::of(Seq::ZERO, handle.as_bytes());
    connection
        .prepare_cached(sql::INSERT_TO_CLEAN)
        .and_then(|mut statement| statement.execute((handle.as_str(), sum)))
        .map_err(failed("record a handle to clean"))?;
    Ok(())
}

/// Deletes a handle, in the transaction of the caller. Does nothing if it is not there.
pub(crate) fn delete(connection: &Connection, handle: &Handle) -> Result<()> {
    connection
        .prepare_cached(sql::DELETE_TO_CLEAN)
        .and_then(|mut statement| statement.execute([handle.as_str()]))
        .map_err(failed("acknowledge a cleanup"))?;
    Ok(())
}

/// Returns all handles, in ascending order.
///
/// # Errors
///
/// `Corrupt` if a row does not match its checksum: a damaged handle could be that of a live shape.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Handle>> {
    let place = || "a row of table `to_clean`".to_owned();
    let mut all = Vec::new();
    each(connection, sql::TO_CLEAN, [], |found| {
        let handle = row::handle(found, 0, place)?;
        let checksum: Option<i64> = found.get(1).map_err(failed("read the handles to clean"))?;
        if checksum.is_some_and(|sum| sum != checksum::of(Seq::ZERO, handle.as_bytes())) {
            return Err(damaged_row(&place(), "its checksum does not match"));
        }
        all.push(handle);
        Ok(true)
    })?;
    Ok(all)
}
