use rusqlite::{Connection, Params, Row};
use shape_meta_core::{ErrorKind, Result};

use crate::error::failed;

/// Returns the first row of a query, if there is one.
pub(crate) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    map: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(failed("prepare a read"))?;
    let mut rows = statement.query(params).map_err(failed("read"))?;
    rows.next().map_err(failed("read"))?.map(map).transpose()
}

/// Returns the result of a look-up by hash: that of the first row for which `map` returns one, since
/// different values may have the same hash.
///
/// # Errors
///
/// `Corrupt` if a row is damaged and no other one is the right one: the damaged one may be.
pub(crate) fn look_up<T>(
    connection: &Connection,
    sql: &str,
    hash: [i64; 1],
    map: impl Fn(&Row<'_>) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let (mut found, mut damaged) = (None, None);
    each(connection, sql, hash, |row| {
        match map(row) {
            Ok(value) => found = value,
            Err(error) if error.kind() == ErrorKind::Corrupt => damaged = Some(error),
            Err(error) => return Err(error),
        }
        Ok(found.is_none())
    })?;
    match (found, damaged) {
        (None, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

/// Passes every row to `each`, until it returns false.
pub(crate) fn each(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut each: impl FnMut(&Row<'_>) -> Result<bool>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql).map_err(failed("prepare a read"))?;
    let mut rows = statement.query(params).map_err(failed("read"))?;
    while let Some(row) = rows.next().map_err(failed("read"))? {
        if !each(row)? {
            break;
        }
    }
    Ok(())
}
