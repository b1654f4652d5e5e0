use std::{fs, io, path::Path, time::Instant};

use shape_meta_core::{Error, Observer, Repaired, Result, TrustedState};

use super::carry::carry;
use crate::{
    connection::settings::Settings,
    error::failed_on,
    format::files::{self, Files},
    recovery::quarantine,
};

/// Puts a fresh database in the place of a damaged one: with all of it that is sound, and with what memory
/// knows. The damaged one is moved aside, and not a byte of it is changed.
///
/// The order matters. First the fresh one is made beside it, whole and synced, and only then gets the name that
/// says so. Then the damaged one is moved aside, and the fresh one into its place. Whenever the process dies,
/// the next opening finds the damaged one still in its place, or [finishes](finish) what was begun.
pub(crate) fn rebuild(
    files: &Files,
    settings: &Settings,
    error: Error,
    known: &TrustedState<'_>,
    epoch: Option<u64>,
    observer: &dyn Observer,
) -> Result<Repaired> {
    let begun = Instant::now();
    let (making, made) = (files.salvaging(), files.salvaged());
    remove(&making)?;
    let carried = carry(&files.database(), &making, settings, known, epoch)?;
    fs::rename(&making, &made).map_err(failed_on("rename", &making))?;
    files.sync_directory()?;
    let path = quarantine::quarantine(files)?;
    put_in_place(files)?;
    let mut repaired = Repaired::new(path, error, carried.saved, carried.lost);
    repaired.vanished = carried.vanished;
    repaired.took = begun.elapsed();
    observer.quarantined(&repaired.path, &repaired.error);
    observer.repaired(&repaired);
    Ok(repaired)
}

/// Goes on with a rebuilding that was cut off, before anything is looked at.
pub(crate) fn finish(files: &Files) -> Result<()> {
    remove(&files.salvaging())?;
    let made = files.salvaged();
    if !made.exists() {
        return Ok(());
    }
    let database = files.database();
    if files::size(&database).map_err(failed_on("look at", &database))? > 0 {
        // The damaged one is still in its place, and is found again.
        return remove(&made);
    }
    // Its log may have been left behind.
    if files.has_companions() {
        quarantine::quarantine(files)?;
    }
    put_in_place(files)
}

fn put_in_place(files: &Files) -> Result<()> {
    let made = files.salvaged();
    fs::rename(&made, files.database()).map_err(failed_on("rename", &made))?;
    files.sync_directory()
}

/// Of what an earlier attempt left: nobody has ever read it.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed_on("remove", path)(error)),
        _ => Ok(()),
    }
}
