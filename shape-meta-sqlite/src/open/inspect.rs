use std::{fs::File, io::Read};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    error::failed_on,
    format::{
        files::{self, Files},
        migrate, schema,
    },
    ownership::presence::Presence,
};

/// What lies at the place of the database, as far as its first bytes tell without SQLite. SQLite itself
/// would write beside a file, or into it, before we could know that it is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No file, or an empty one.
    Nothing,
    /// The log of a database that is not there. Opening would delete the log.
    LogWithoutDatabase,
    /// A database whose header cannot be right.
    Damaged,
    /// A database. It may still be found to be too new, or damaged.
    Database,
}

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where a SQLite file says with which versions of the format it can be written and read: 1 or 2. SQLite takes a file that
/// says otherwise for one that it may only read, and that would look like a question of permissions.
const FORMATS: std::ops::Range<usize> = 18..20;
/// Where a SQLite file says its `user_version` and its `application_id`, as four bytes, big-endian.
const USER_VERSION: usize = 60;
const APPLICATION_ID: usize = 68;

/// Looks, and refuses what is not ours without touching a byte.
pub(crate) fn inspect(files: &Files) -> Result<Found> {
    let path = files.database();
    let size = |path: &std::path::Path| files::size(path).map_err(failed_on("look at", path));
    if size(&path)? == 0 {
        let log = size(&files.companion("-wal"))?;
        return Ok(if log > 0 { Found::LogWithoutDatabase } else { Found::Nothing });
    }
    if size(&files.companion("-journal"))? > 0 {
        // A write was cut off, and the first page may be half of it. SQLite rolls it back first; the
        // same questions are asked again after that.
        return Ok(Found::Database);
    }

    if Presence::is_open_here(files) {
        // Whoever has it open has looked, and through SQLite it will be looked at again.
        return Ok(Found::Database);
    }

    let mut header = Vec::new();
    let file = File::open(&path).map_err(failed_on("open", &path))?;
    file.take(100).read_to_end(&mut header).map_err(failed_on("read", &path))?;
    if !header.starts_with(MAGIC) {
        return Err(Error::new(
            ErrorKind::NotADatabase,
            format!(
                "{} is no SQLite database; it is left as it is. Move it away, or choose another directory",
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
    if header.get(FORMATS).is_some_and(|formats| formats.iter().any(|format| !matches!(format, 1 | 2))) {
        return Ok(Found::Damaged);
    }
    Ok(Found::Database)
}

/// Refuses the file of another application.
pub(crate) fn refuse_foreign(files: &Files, application_id: i32) -> Result<()> {
    if application_id == schema::APPLICATION_ID {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotADatabase,
        format!(
            "{} is a SQLite database of another application (its application id is {application_id:#x}); it \
             is left as it is. Move it away, or choose another directory",
            files.database().display()
        ),
    ))
}
