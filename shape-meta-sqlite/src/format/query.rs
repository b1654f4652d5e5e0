use rusqlite::{Connection, Params, Row};
use shape_meta_core::Result;

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
