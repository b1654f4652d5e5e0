use std::{fs::File, io::Read, ops::Range, path::Path};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    error::failed_on,
    format::{
        files::{self, Files},
        migrate, schema,
    },
    ownership::presence::Presence,
};

/// The state of the database file, as far as its first bytes show it. They are read without SQLite, which
/// could write to the file, or create files next to it, before it is known whether the file belongs to this
/// crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// No file, or an empty one.
    Missing,
    /// A WAL whose database is missing. Opening the database would delete it.
    WalWithoutDatabase,
    /// A database whose header names an impossible format version.
    DamagedHeader,
    /// A database of this crate, or a file that only SQLite can inspect safely. Its pages and its schema are
    /// not checked yet.
    Database,
}

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Bytes with the write and read version of the file format: 1 or 2. SQLite treats a file with another
/// version as read-only, which would look like a lack of permissions.
const FORMAT_VERSIONS: Range<usize> = 18..20;
/// Offset of the `user_version`: four bytes, big-endian.
const USER_VERSION: usize = 60;
/// Offset of the `application_id`: four bytes, big-endian.
const APPLICATION_ID: usize = 68;

/// Reads the first bytes of the database file. Changes nothing.
///
/// # Errors
///
/// `NotADatabase` if the file is not a SQLite database or another application's, `UnsupportedSchema` if a
/// newer version of this crate has written it, and the kinds of a file system that fails.
pub(crate) fn inspect(files: &Files) -> Result<FileState> {
    let path = files.database();
    let size = |path: &Path| files::size(path).map_err(failed_on("read the size of", path));
    if size(&path)? == 0 {
        let wal = size(&files.companion("-wal"))?;
        return Ok(if wal > 0 { FileState::WalWithoutDatabase } else { FileState::Missing });
    }
    if size(&files.companion("-journal"))? > 0 {
        // A write was interrupted, and the first page may contain half of it. SQLite rolls it back when it
        // opens the file; `IdentifiedDatabase` repeats these checks after that.
        return Ok(FileState::Database);
    }
    if Presence::is_open_here(files) {
        // A store of this process has the file open, and has inspected it. To open and close it here would
        // release the POSIX locks of that store. `IdentifiedDatabase` repeats these checks through SQLite.
        return Ok(FileState::Database);
    }

    let mut header = Vec::new();
    let file = File::open(&path).map_err(failed_on("open", &path))?;
    file.take(100).read_to_end(&mut header).map_err(failed_on("read", &path))?;
    if !header.starts_with(MAGIC) {
        return Err(Error::new(
            ErrorKind::NotADatabase,
            format!(
                "{} is not a SQLite database; it was not changed. Move it away, or choose another directory",
                path.display()
            ),
        ));
    }
    let number =
        |at: usize| header.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_be_bytes);
    if let (Some(version), Some(application)) = (number(USER_VERSION), number(APPLICATION_ID)) {
        refuse_foreign(files, application.cast_signed())?;
        migrate::refuse_newer(version)?;
    }
    let is_valid = |version: &u8| matches!(version, 1 | 2);
    if header.get(FORMAT_VERSIONS).is_some_and(|versions| !versions.iter().all(is_valid)) {
        return Ok(FileState::DamagedHeader);
    }
    Ok(FileState::Database)
}

/// Returns `NotADatabase` for the file of another application.
pub(crate) fn refuse_foreign(files: &Files, application_id: i32) -> Result<()> {
    if application_id == schema::APPLICATION_ID {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotADatabase,
        format!(
            "{} is the SQLite database of another application (application id {application_id:#x}); it was \
             not changed. Move it away, or choose another directory",
            files.database().display()
        ),
    ))
}
