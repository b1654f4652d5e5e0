use rusqlite::{Connection, Params, Row};
use shape_meta_core::Result;

use crate::error::failed;

/// The first row of a look-up, if there is one.
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

/// Every row, one after the other, for as long as `each` wants more.
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
