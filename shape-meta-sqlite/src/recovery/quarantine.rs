use std::path::PathBuf;

use shape_meta_core::{Result, Timestamp};

use crate::format::files::{self, COMPANIONS, Files};

/// Renames the database and its companions to a name with the time, and deletes nothing (C11). The owner lock
/// must be held.
///
/// The name ends in `.damaged-` and the seconds since the Unix epoch, and `-2`, `-3`, ... if that name is
/// taken. Returns the new path of the database. Its companions have the same name with `-wal`, `-shm` or
/// `-journal` appended, so that SQLite's own tools can open the file.
///
/// Which files exist is taken from a listing of the directory; so a rename that fails is an error, whatever
/// its code. After an error all files have their old names again, if that is possible: nothing is put in the
/// place of a file that is still there.
///
/// The database is renamed first. A crash before the last rename then leaves a WAL without a database, which
/// the next open quarantines too. In the other order it would leave a database without its latest commits,
/// which looks sound.
pub(crate) fn quarantine(files: &Files) -> Result<PathBuf> {
    const OPERATION: &str = "quarantine the damaged file";
    let names = files.names()?;
    let exists = |suffix: &str| files.companion(suffix).file_name().is_some_and(|name| names.contains(name));
    let suffixes = || [""].into_iter().chain(COMPANIONS);
    let seconds = Timestamp::now().as_micros() / 1_000_000;
    let mut target = format!(".damaged-{seconds:010}");
    let mut copy = 1;
    while suffixes().any(|suffix| exists(&format!("{target}{suffix}"))) {
        copy += 1;
        target = format!(".damaged-{seconds:010}-{copy}");
    }

    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    for suffix in suffixes().filter(|suffix| exists(suffix)) {
        let (from, to) = (files.companion(suffix), files.companion(&format!("{target}{suffix}")));
        if let Err(error) = files::move_file(OPERATION, &from, &to) {
            // The database goes back last, so that it is never without its WAL. If this fails, too, the next
            // open goes on as after a crash.
            let mut back = moved.iter().rev();
            let _ = back.try_for_each(|(from, to)| files::move_file(OPERATION, to, from));
            return Err(error);
        }
        moved.push((from, to));
    }
    files.sync_directory()?;
    Ok(files.companion(&target))
}
