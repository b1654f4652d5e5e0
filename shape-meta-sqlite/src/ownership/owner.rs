use std::{env, fs, process};

use rusqlite::{Connection, params};
use shape_meta_core::{Result, Timestamp};

use crate::{error::failed, format::sql};

/// Records the owner, in the transaction of the caller: the process, the host, and since when. For operators;
/// nothing depends on it, and whether the owner is alive is known from its lock.
pub(crate) fn record(connection: &Connection, since: Timestamp) -> Result<()> {
    connection
        .prepare_cached(sql::RECORD_OWNER)
        .and_then(|mut statement| {
            statement.execute(params![process::id(), host(), since.as_micros().cast_signed()])
        })
        .map_err(failed("record the owner"))?;
    Ok(())
}

/// Returns the name of this host, or an empty string where it cannot be read without a call to the C library.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| env::var("HOSTNAME").ok()).or_else(|| env::var("COMPUTERNAME").ok());
    name.unwrap_or_default().trim().to_owned()
}
