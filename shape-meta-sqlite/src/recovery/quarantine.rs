use std::{fs, io, path::PathBuf};

use shape_meta_core::{Result, Timestamp};

use crate::{
    error::failed_on,
    format::files::{COMPANIONS, Files},
};

/// Renames the database and its companions to a name with the time, and deletes nothing (C11).
///
/// The name ends in `.damaged-` and the seconds since the Unix epoch, and `-2`, `-3`, ... if that name is
/// taken. Returns the new path of the database. Its companions have the same name with `-wal`, `-shm` or
/// `-journal` appended, so that SQLite's own tools can open the file.
///
/// The database is renamed first. A crash before the last rename then leaves a WAL without a database, which
/// the next open quarantines too. In the other order it would leave a database without its latest commits,
/// which looks sound.
pub(crate) fn quarantine(files: &Files) -> Result<PathBuf> {
    let seconds = Timestamp::now().as_micros() / 1_000_000;
    let base = format!("{}.damaged-{seconds:010}", files.database().display());
    let is_taken = |path: &str| {
        [""].iter().chain(&COMPANIONS).any(|suffix| fs::symlink_metadata(format!("{path}{suffix}")).is_ok())
    };
    let mut target = base.clone();
    let mut copy = 1;
    while is_taken(&target) {
        copy += 1;
        target = format!("{base}-{copy}");
    }

    let renames = [(files.database(), target.clone())]
        .into_iter()
        .chain(COMPANIONS.map(|suffix| (files.companion(suffix), format!("{target}{suffix}"))));
    for (from, to) in renames {
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(failed_on("quarantine the damaged file", &from))?,
        }
    }
    files.sync_directory()?;
    Ok(target.into())
}
