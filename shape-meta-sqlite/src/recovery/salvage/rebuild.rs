use std::{fs, io, path::Path, time::Instant};

use shape_meta_core::{Error, Observer, Repaired, Result, TrustedState};

use super::copy::copy;
use crate::{
    connection::settings::Settings,
    error::failed_on,
    format::{
        files::{self, Files},
        meta::Ownership,
    },
    recovery::quarantine,
};

/// Replaces a damaged database by a new one with its sound rows and the trusted state of memory. Quarantines
/// the damaged one, of which no byte changes.
///
/// The order matters:
///
/// 1. The new database is written under the name `-salvaging` and synced.
/// 2. It is renamed to `-salvaged`, which says that it is complete.
/// 3. The damaged database is quarantined.
/// 4. The new database is renamed to its final name.
///
/// After a crash, the next open finds the damaged database in its place and starts again, or
/// [finishes](finish) the rebuild.
pub(crate) fn rebuild(
    files: &Files,
    settings: &Settings,
    error: Error,
    trusted: &TrustedState<'_>,
    owner: Option<Ownership>,
    observer: &dyn Observer,
) -> Result<Repaired> {
    let started = Instant::now();
    let (partial, complete) = (files.salvaging(), files.salvaged());
    remove(&partial)?;
    let copied = copy(&files.database(), &partial, settings, trusted, owner)?;
    fs::rename(&partial, &complete).map_err(failed_on("rename", &partial))?;
    files.sync_directory()?;
    let path = quarantine::quarantine(files)?;
    put_in_place(files)?;
    let mut repaired = Repaired::new(path, error, copied.salvaged, copied.lost);
    repaired.vanished = copied.vanished;
    repaired.took = started.elapsed();
    observer.quarantined(&repaired.path, &repaired.error);
    observer.repaired(&repaired);
    Ok(repaired)
}

/// Finishes or discards a rebuild that a crash interrupted. Call it before the database is read.
pub(crate) fn finish(files: &Files) -> Result<()> {
    remove(&files.salvaging())?;
    let complete = files.salvaged();
    if !complete.exists() {
        return Ok(());
    }
    let database = files.database();
    if files::size(&database).map_err(failed_on("look at", &database))? > 0 {
        // The damaged database is still in its place. The open finds it, and rebuilds it again.
        return remove(&complete);
    }
    // The crash may have hit between the renames of the damaged database and its companions.
    if files.has_companions() {
        quarantine::quarantine(files)?;
    }
    put_in_place(files)
}

fn put_in_place(files: &Files) -> Result<()> {
    let complete = files.salvaged();
    fs::rename(&complete, files.database()).map_err(failed_on("rename", &complete))?;
    files.sync_directory()
}

/// Deletes a database of an unfinished rebuild, if it exists. It was never in use.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed_on("remove", path)(error)),
        _ => Ok(()),
    }
}
