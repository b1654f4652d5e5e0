use std::{fs::File, io::Read, ops::Range, path::Path};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    error::failed_on,
    format::{
        files::{self, Files},
        migrate, schema,
    },
    open::links,
    ownership::presence::RawAccess,
    recovery::salvage,
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
    /// A file that contains rows or tables of this crate behind a damaged header. SQLite cannot read it, or
    /// would read it as another version. Its rows can be salvaged.
    DamagedHeader,
    /// A database of this crate, or a file that only SQLite can inspect safely. Its pages and its schema are
    /// not checked yet.
    Database,
    /// A database of this crate whose header contradicts its pages. All pages must be checked before anything
    /// is written.
    Doubtful,
}

/// The first bytes of every SQLite database.
pub(crate) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Bytes with the write and read version of the file format: 1 or 2. SQLite treats a file with another
/// version as read-only, which would look like a lack of permissions.
const FORMAT_VERSIONS: Range<usize> = 18..20;
/// Offset of the number of reserved bytes at the end of each page.
const RESERVED_BYTES: usize = 20;
/// Bytes with the first page of the free list, and its length.
const FREE_LIST: Range<usize> = 32..40;
/// Bytes that say whether the database uses incremental vacuum.
const INCREMENTAL_VACUUM: Range<usize> = 64..68;
/// Offset of the `user_version`: four bytes, big-endian.
const USER_VERSION: usize = 60;
/// Offset of the `application_id`: four bytes, big-endian.
const APPLICATION_ID: usize = 68;

/// Reads the first bytes of the database file. If they are not those of a database of this crate, searches
/// the rest of the file for its rows and tables. Changes nothing.
///
/// # Errors
///
/// `NotADatabase` if nothing in the file belongs to this crate, `UnsupportedSchema` if a newer version of
/// this crate has written it, and the kinds of a file system that fails.
pub(crate) fn inspect(files: &Files) -> Result<FileState> {
    links::refuse(files)?;
    let path = files.database();
    let size = |path: &Path| files::size(path).map_err(failed_on("read the size of", path));
    if size(&path)? == 0 {
        let wal = size(&files.companion("-wal"))?;
        return Ok(if wal > 0 { FileState::WalWithoutDatabase } else { FileState::Missing });
    }
    let has_journal = size(&files.companion("-journal"))? > 0;
    let Some(_access) = RawAccess::begin(files) else {
        // A store of this process has the file open, and has inspected it. To open and close it here would
        // release the POSIX locks of that store. `IdentifiedDatabase` repeats these checks through SQLite.
        return Ok(FileState::Database);
    };

    let mut header = Vec::new();
    let file = File::open(&path).map_err(failed_on("open", &path))?;
    file.take(100).read_to_end(&mut header).map_err(failed_on("read", &path))?;
    if has_journal {
        // A write was interrupted, and the first page may contain half of it. SQLite rolls it back when it
        // opens the file, and `IdentifiedDatabase` repeats these checks after that. Whose file it is must be
        // known before: by its first page with the journal, or else by its content.
        let Some(rolled_back) = salvage::header(&path)? else {
            // The first transaction of a database. SQLite makes the file empty.
            return Ok(FileState::Database);
        };
        return match judge(&rolled_back) {
            None => Ok(FileState::Database),
            Some(defect) => state_by_content(files, &header, defect),
        };
    }
    match judge(&header) {
        None if is_doubtful(&header, &path)? => Ok(FileState::Doubtful),
        None => Ok(FileState::Database),
        Some(defect) => state_by_content(files, &header, defect),
    }
}

/// The reason for which the first bytes are not those of a database that this crate can read.
#[derive(Clone, Copy, Debug)]
enum Defect {
    NotSqlite,
    /// The application id of another application, or none.
    Foreign(i32),
    NewerVersion(u32),
    UnknownFormat,
}

fn judge(header: &[u8]) -> Option<Defect> {
    if !header.starts_with(MAGIC) {
        return Some(Defect::NotSqlite);
    }
    let number =
        |at: usize| header.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_be_bytes);
    if let (Some(version), Some(application)) = (number(USER_VERSION), number(APPLICATION_ID)) {
        if application.cast_signed() != schema::APPLICATION_ID {
            return Some(Defect::Foreign(application.cast_signed()));
        }
        if version > migrate::CURRENT {
            return Some(Defect::NewerVersion(version));
        }
    }
    let is_valid = |version: &u8| matches!(version, 1 | 2);
    let has_unknown_format =
        header.get(FORMAT_VERSIONS).is_some_and(|versions| !versions.iter().all(is_valid));
    has_unknown_format.then_some(Defect::UnknownFormat)
}

/// Whether the header may be damaged in a way that makes SQLite overwrite pages in use. Three signs count: a
/// free list that contradicts itself, reserved bytes in pages, and incremental vacuum. Databases of this
/// crate have none of them.
fn is_doubtful(header: &[u8], path: &Path) -> Result<bool> {
    let has_free_pages = header.get(FREE_LIST).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    let has_reserved_bytes = header.get(RESERVED_BYTES).is_some_and(|bytes| *bytes != 0);
    let is_vacuumed = header.get(INCREMENTAL_VACUUM).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    Ok(has_reserved_bytes || is_vacuumed || has_free_pages && !salvage::has_sound_free_list(path)?)
}

/// Decides by the rest of the file whether it belongs to this crate. One flipped byte of a header says
/// nothing about thousands of sound rows behind it, and the file of another application must stay unchanged.
fn state_by_content(files: &Files, header: &[u8], defect: Defect) -> Result<FileState> {
    let content = salvage::recognise(&files.database())?;
    // A WAL may hold a newer first page.
    let defect = match judge(&content.header) {
        None => return Ok(FileState::Database),
        Some(Defect::NotSqlite) => defect,
        Some(newer) => newer,
    };
    match defect {
        Defect::UnknownFormat => Ok(FileState::DamagedHeader),
        // Damage of the header alone: the rest says that it was written in a version that we read. A later
        // version is refused, whatever its tables are: it may encode their rows differently.
        Defect::NewerVersion(version)
            if content.version.is_some_and(|known| is_damaged_version(version, known)) =>
        {
            Ok(FileState::DamagedHeader)
        }
        Defect::NewerVersion(version) => migrate::refuse_newer(version).map(|()| FileState::Database),
        Defect::Foreign(_) | Defect::NotSqlite if content.is_ours => Ok(FileState::DamagedHeader),
        // What SQLite makes of a new file before our first transaction. `IdentifiedDatabase` repeats the
        // checks.
        Defect::Foreign(0) if content.is_empty => Ok(FileState::Database),
        Defect::Foreign(application_id) => {
            refuse_foreign(files, application_id).map(|()| FileState::Database)
        }
        // A file that was cut off within its first bytes.
        Defect::NotSqlite if header.len() > 6 && MAGIC.starts_with(header) => Ok(FileState::DamagedHeader),
        Defect::NotSqlite => Err(Error::new(
            ErrorKind::NotADatabase,
            format!(
                "{} is not a SQLite database, and no row of ours was found in it; it was not changed. Move it \
                 away, or choose another directory",
                files.database().display()
            ),
        )),
    }
}

/// Returns whether a schema version looks like this known one with damage: in a single bit, or in one of the
/// upper three bytes. The file is that of the known version anyway; but a version that differs in
/// another way was set on purpose, and is refused.
fn is_damaged_version(version: u32, known: u32) -> bool {
    let difference = known ^ version;
    difference.is_power_of_two() || [1, 2, 3].iter().any(|byte| difference & !(0xff << (8 * byte)) == 0)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shape_meta_core::NoopObserver;

    use super::*;
    use crate::{SqliteOptions, SqliteStore, format::meta::Meta};

    /// Some later versions differ from the current one in one bit. A real database of them, even
    /// with the tables of today, is not taken for damaged: its row of `meta` has the checksum of its version.
    #[test]
    fn c11_a_later_version_differs_from_a_damaged_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("absolute");
        let open = || SqliteStore::open(directory.path(), SqliteOptions::default(), Arc::new(NoopObserver));
        let one_bit = [1, 3, 4, 5, 6, 7, 8, 24].map(|bit| migrate::CURRENT ^ 1 << bit);
        for later in one_bit.into_iter().chain(migrate::CURRENT + 1..=16) {
            let _ = std::fs::remove_file(files.database());
            open().expect("opens").close().expect("closes");
            let connection = rusqlite::Connection::open(files.database()).expect("opens");
            let in_the_file = "PRAGMA journal_mode = DELETE";
            connection.query_row(in_the_file, [], |_| Ok(())).expect("writes");
            connection.pragma_update(None, "user_version", later).expect("writes");
            let damaged = |later: u32| (later ^ migrate::CURRENT).is_power_of_two() || later > 255;
            let expected =
                if damaged(later) { Ok(FileState::DamagedHeader) } else { Err(ErrorKind::UnsupportedSchema) };
            assert_eq!(inspect(&files).map_err(|error| error.kind()), expected, "{later}: a damaged header");

            let sum = Meta::read(&connection).expect("sound").checksum_in(later);
            connection.execute("UPDATE meta SET checksum = ?1", [sum]).expect("writes");
            let found = inspect(&files).map_err(|error| error.kind());
            assert_eq!(found, Err(ErrorKind::UnsupportedSchema), "{later}: a later version");
        }
    }
}
