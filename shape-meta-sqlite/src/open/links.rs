use std::path::Path;

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    error::failed_on,
    format::files::{Files, if_present},
};

/// The length of the path of a database, in bytes, up to which SQLite opens it: its limit of 512 includes the
/// name of the journal.
const MAX_PATH_BYTES: usize = 504;

/// Refuses a path that SQLite would follow to other files than this crate, or not at all.
///
/// SQLite resolves a symbolic link and puts the WAL next to its target, while the owner's lock and the
/// quarantine are next to the link. A file with a second name can be opened under that name with another WAL.
/// Symbolic links to the directory are fine.
///
/// # Errors
///
/// `Configuration`.
pub(crate) fn refuse(files: &Files) -> Result<()> {
    let refused = |message| Err(Error::new(ErrorKind::Configuration, message));
    let directory = files.directory();
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let length = resolved.as_os_str().len() + "/shape-meta.sqlite3".len();
    if length > MAX_PATH_BYTES {
        return refused(format!(
            "the path of the database in {} has {length} bytes, and SQLite opens paths of up to {MAX_PATH_BYTES}; \
             nothing was changed. Choose a directory with a shorter path",
            directory.display()
        ));
    }
    refuse_lock(files)?;
    let path = files.database();
    for path in [&path, &files.companion("-wal"), &files.companion("-journal")] {
        if let Some(what) = special(path)? {
            return refused(format!(
                "{} {what}, so its companion files would be in different places; nothing was changed. Name the \
                 directory that has the file itself, or put the file there",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Refuses a lock file that is a link, a pipe or a directory. An owner writes to it and gives it to the owner
/// of the directory, so a link would do that to another file, and an open of a pipe never returns.
///
/// # Errors
///
/// `Configuration`.
pub(crate) fn refuse_lock(files: &Files) -> Result<()> {
    let path = files.lock();
    let Some(what) = special(&path)? else { return Ok(()) };
    let message = format!(
        "the lock file {} {what}; neither was touched. Delete it while no owner is alive: the next open makes a new \
         one",
        path.display()
    );
    Err(Error::new(ErrorKind::Configuration, message))
}

/// Returns what is special about the file at `path`; `None` for an ordinary or a missing one.
fn special(path: &Path) -> Result<Option<String>> {
    let found = if_present(path.symlink_metadata()).map_err(failed_on("look at", path))?;
    let Some(metadata) = found else { return Ok(None) };
    if metadata.is_symlink() {
        return Ok(Some("is a symbolic link".into()));
    }
    if !metadata.is_file() {
        return Ok(Some("is not a regular file".into()));
    }
    #[cfg(unix)]
    {
        let names = std::os::unix::fs::MetadataExt::nlink(&metadata);
        if names > 1 {
            return Ok(Some(format!("has {names} names (hard links)")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::files::tests::while_a_file_comes_and_goes;

    #[test]
    fn c6_a_file_that_comes_and_goes_is_not_special() {
        while_a_file_comes_and_goes(|path| assert_eq!(special(path).expect("looks"), None));
    }
}
