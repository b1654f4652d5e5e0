use std::{env, fs, process};

use rusqlite::{Connection, params};
use shape_meta_core::{Result, Timestamp};

use crate::{error::failed, format::sql};

/// Notes who has taken the turn, for people who look at the file: the process, the machine, and since when.
/// Nothing depends on it; whether the owner is alive, its lock says.
pub(crate) fn record(connection: &Connection, since: Timestamp) -> Result<()> {
    connection
        .prepare_cached(sql::NOTE_OWNER)
        .and_then(|mut statement| {
            statement.execute(params![process::id(), host(), since.as_micros().cast_signed()])
        })
        .map_err(failed("note the owner"))?;
    Ok(())
}

/// The name of this machine, as far as it can be told without asking the system's library.
fn host() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| env::var("HOSTNAME").ok()).or_else(|| env::var("COMPUTERNAME").ok());
    told.unwrap_or_default().trim().to_owned()
}
