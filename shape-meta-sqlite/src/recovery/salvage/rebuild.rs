use std::{ffi::OsStr, fs::File, path::Path, time::Instant};

use shape_meta_core::{Error, ErrorKind, Observer, Repaired, Result, TrustedState};

use super::copy::copy;
use crate::{
    connection::settings::Settings,
    error::failed_on,
    format::{
        files::{self, COMPANIONS, Files},
        meta::Ownership,
    },
    ownership::file_id::FileId,
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
/// After a crash, or an error that left a step undone, the next open or the next rebuild finds the damaged
/// database in its place and starts again, or [finishes](finish) the rebuild. A file is only renamed to a
/// name that no file has.
///
/// `is_owner` is called once the new database is written: an owner that was fenced meanwhile must not move
/// the database of the new one.
pub(crate) fn rebuild(
    files: &Files,
    settings: &Settings,
    error: Error,
    trusted: &TrustedState<'_>,
    owner: Option<Ownership>,
    is_owner: impl Fn() -> bool,
    observer: &dyn Observer,
) -> Result<Repaired> {
    let started = Instant::now();
    // A rebuild of this process may have failed after it had moved the damaged database. The rows are then in
    // the new one, and not where this rebuild would look for them.
    finish(files)?;
    let (partial, complete) = (files.salvaging(), files.salvaged());
    let copied = create_partial(files, &partial)
        .and_then(|file| Ok((file, copy(&files.database(), &partial, settings, trusted, owner)?)));
    let (file, copied) = match copied {
        Ok(copied) if is_owner() => copied,
        Ok(_) => {
            // The name may be that of the new owner's file by now, so it is not deleted.
            return Err(Error::new(
                ErrorKind::Fenced,
                "a newer owner has taken over the database during the repair; no file has been moved. Repair \
                 it from its owner",
            ));
        }
        Err(error) => {
            // The disk may be full. The first error is the one that matters.
            let _ = remove_partial(files);
            return Err(error);
        }
    };
    if let Err(error) = files::move_file(RENAME, &partial, &complete) {
        let _ = remove_partial(files);
        return Err(error);
    }
    // Before the damaged database moves.
    if let Err(error) = check_unswapped(&file, &complete) {
        let _ = files::remove(&complete);
        return Err(error);
    }
    drop(file);
    files.sync_directory()?;
    let path = quarantine::quarantine(files)?;
    put_in_place(files)?;
    let mut repaired = Repaired::new(path, error, copied.salvaged, copied.lost);
    (repaired.vanished, repaired.lost_cleanups) = (copied.vanished, copied.lost_cleanups);
    repaired.knows_count = copied.knows_count;
    repaired.took = started.elapsed();
    observer.quarantined(&repaired.path, &repaired.error);
    observer.repaired(&repaired);
    Ok(repaired)
}

/// Finishes or discards a rebuild that a crash or an error interrupted. Call it before the database is read.
pub(crate) fn finish(files: &Files) -> Result<()> {
    remove_partial(files)?;
    let complete = files.salvaged();
    if !files::exists(&complete)? {
        return Ok(());
    }
    let database = files.database();
    if files::size(&database).map_err(failed_on("look at", &database))? > 0 {
        // The damaged database is still in its place. The open finds it, and rebuilds it again.
        return files::remove(&complete);
    }
    // The rebuild may have stopped between the renames of the damaged database and its companions. A WAL that
    // stayed would be replayed over the new database.
    let names = files.names()?;
    let is_there = |path: &Path| path.file_name().is_some_and(|name: &OsStr| names.contains(name));
    if is_there(&database) || COMPANIONS.iter().any(|suffix| is_there(&files.companion(suffix))) {
        quarantine::quarantine(files)?;
    }
    put_in_place(files)
}

const RENAME: &str = "rename the repaired database";

/// Creates the file of the new database, which belongs to whom the damaged one belongs, or its WAL if nothing
/// else is left of it. SQLite creates none: it would follow a link that another user has put there. The file
/// is closed after SQLite's connection, whose locks the close would end.
fn create_partial(files: &Files, new: &Path) -> Result<File> {
    let file = files::create_private(new).map_err(failed_on("create the new database", new))?;
    for of in [files.database(), files.companion("-wal")] {
        if files::exists(&of)? {
            files::keep_owner_and_mode(&of, &file)
                .map_err(failed_on("set the owner and the mode of the new database", new))?;
            break;
        }
    }
    Ok(file)
}

/// Returns an error unless the name is still that of the file that was created.
fn check_unswapped(file: &File, path: &Path) -> Result<()> {
    match (FileId::of(file), FileId::of_name(path)) {
        (Ok(created), Ok(named)) if created == named => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Io,
            format!(
                "another program has put a file in the place of the repaired database {}; the damaged database has not \
                 been moved. End that program, and repair again",
                path.display()
            ),
        )),
    }
}

fn put_in_place(files: &Files) -> Result<()> {
    files::move_file(RENAME, &files.salvaged(), &files.database())?;
    files.sync_directory()
}

/// Deletes the database of an unfinished rebuild, which was never in use, with its companions: SQLite would
/// take them for those of the next one.
fn remove_partial(files: &Files) -> Result<()> {
    let partial = files.salvaging();
    files::remove(&partial)?;
    COMPANIONS.iter().try_for_each(|suffix| files::remove(&files::with_suffix(&partial, suffix)))
}
