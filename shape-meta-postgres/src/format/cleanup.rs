//! The table `cleanup`: shapes that are gone and whose stored data is not deleted yet (C12).

use shape_meta_core::{
    Result, Seq,
    store_parts::{CleanupTask, checksum},
};
use tokio_postgres::Row;

use crate::{error::damaged_row, format::row};

/// Decodes and verifies the columns `id`, `handle`, and `checksum`.
pub(crate) fn decode(found: &Row) -> Result<CleanupTask> {
    let id = row::int8(found, 0)?;
    let place = || format!("cleanup task {id}");
    let handle = row::handle(found, 1, place)?;
    match row::int8(found, 2)? == checksum(handle.as_bytes()) {
        true => Ok(CleanupTask::new(id, handle)),
        false => Err(damaged_row(&place(), "its checksum does not match")),
    }
}

/// Returns the checksum of a task with this handle.
pub(crate) fn checksum(handle: &[u8]) -> i64 {
    checksum::of(Seq::ZERO, handle)
}
