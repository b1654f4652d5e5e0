use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::Connection;
use shape_meta_core::{Error, ErrorKind, Result, store_parts::Identity};

use crate::{connection::settings::Settings, error::failed, format::meta::Meta, ownership::file_id::FileId};

/// How often the file is read again while another program may be checkpointing into it.
const READS: usize = 3;

/// The database file without its WAL, as the writer has left it (C13).
///
/// In WAL mode SQLite never looks whether the pages below the WAL are still the ones that it put there. So an
/// older copy that is written into the very file (`cat older > shape-meta.sqlite3`) would be mixed with the
/// WAL, whose row `meta` is ours, and later commits would rest on lost pages. Its time shows that another
/// program wrote, and its own row `meta` whether it is a later state of ours (a checkpoint) or not.
pub(super) struct MainFile {
    path: PathBuf,
    id: FileId,
    stamp: Stamp,
    /// Whether commits go to a WAL first. If not, the file alone is the database.
    has_wal: bool,
    /// With a WAL, a state that the file alone is known to have reached; `None` if it could not be read.
    floor: Option<Meta>,
}

/// What every write into a file changes, as far as the clock of its file system is fine enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    /// The time of the latest change of the content or of an attribute, which no program can set.
    changed: Option<(i64, i64)>,
}

impl Stamp {
    pub(super) fn size(self) -> u64 {
        self.size
    }

    fn at(path: &Path) -> io::Result<(FileId, Self)> {
        let metadata = fs::metadata(path)?;
        let stamp =
            Self { size: metadata.len(), modified: metadata.modified().ok(), changed: changed_at(&metadata) };
        Ok((FileId::of_metadata(&metadata), stamp))
    }
}

impl MainFile {
    /// The file that a connection has open. `former` is that of the connection before.
    pub(super) fn new(settings: &Settings, path: &Path, former: Option<&Self>) -> io::Result<Self> {
        let (id, stamp) = Stamp::at(path)?;
        let has_wal = settings.has_readers();
        let floor = match former {
            Some(former) if former.id == id => former.floor,
            _ if has_wal => read_alone(settings).ok(),
            _ => None,
        };
        Ok(Self { path: path.to_owned(), id, stamp, has_wal, floor })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Returns the stamp of the file. `None` if another file has its name, or none. A system call.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        Stamp::at(&self.path).ok().filter(|(id, _)| *id == self.id).map(|(_, stamp)| stamp)
    }

    /// Returns the stamp of the file if it was written since the latest operation of the writer. `None` also
    /// if another file has its name, or none.
    pub(super) fn new_stamp(&self) -> Option<Stamp> {
        self.stamp().filter(|stamp| *stamp != self.stamp)
    }

    /// Records what the writer itself wrote, after each of its operations. `state` returns a state up to
    /// which it has moved everything into the file, if there is one.
    pub(super) fn record_own_writes(&mut self, state: impl FnOnce() -> Option<Meta>) {
        if let Some(stamp) = self.stamp() {
            self.record_stamp(stamp, state);
        }
    }

    /// The same with a stamp that was taken after the operation.
    pub(super) fn record_stamp(&mut self, stamp: Stamp, state: impl FnOnce() -> Option<Meta>) {
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        if self.has_wal {
            self.floor = state().or(self.floor);
        }
    }

    /// Returns an error if another program wrote into the file, and what it holds now is not a later state of
    /// what it held. `ours` is our opening, and `check_owner` checks the identities of a state.
    ///
    /// # Errors
    ///
    /// Those of `check_owner`, and `Io`. Then the writer must be closed without a checkpoint.
    pub(super) fn check(
        &mut self,
        settings: &Settings,
        ours: Option<Identity>,
        check_owner: impl FnOnce(&Meta) -> Result<()>,
    ) -> Result<()> {
        let Some(stamp) = self.new_stamp() else { return Ok(()) };
        let found = match (read_alone(settings), self.floor) {
            (Ok(found), _) => found,
            // It could not be read before either: a migration is still in the WAL.
            (Err(_), None) if self.has_wal => return Ok(()),
            (Err(error), _) => return Err(overwritten().with_source(error)),
        };
        match self.floor {
            _ if !self.has_wal => check_owner(&found)?,
            Some(floor) if !follows(&found, &floor, ours) => {
                check_owner(&found)?;
                // A repair of ours may have put another database in place, which this check knows.
                if found.database == floor.database {
                    return Err(overwritten());
                }
            }
            _ => {}
        }
        (self.stamp, self.floor) = (stamp, Some(found));
        Ok(())
    }
}

/// Whether a file in the state `found` may have been in the state `floor` before, by checkpoints alone.
fn follows(found: &Meta, floor: &Meta, ours: Option<Identity>) -> bool {
    found.database == floor.database
        && (found.opening == floor.opening || found.opening == ours)
        && found.epoch >= floor.epoch
        && found.last_seq >= floor.last_seq
}

/// Returns the latest state of the database if all of the WAL is in the database file.
pub(super) fn checkpointed_state(writer: &Connection) -> Option<Meta> {
    let (frames, moved): (i64, i64) =
        writer.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?))).ok()?;
    (frames == moved).then(|| Meta::read(writer).ok()).flatten()
}

/// Reads the state in the database file alone. Takes no lock, so a checkpoint of another program may tear the
/// read, which is then tried again.
fn read_alone(settings: &Settings) -> Result<Meta> {
    let read = || {
        let connection = settings.open_main_file().map_err(failed("read the database file alone"))?;
        Meta::read(&connection)
    };
    (1..READS).fold(read(), |outcome, _| outcome.or_else(|_| read()))
}

fn overwritten() -> Error {
    Error::new(
        ErrorKind::Io,
        "another program wrote into the database file while it was open, and what the file holds now does not belong to \
         its -wal; nothing was written. Put the right files back, or repair the database",
    )
}

#[cfg(unix)]
fn changed_at(metadata: &fs::Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn changed_at(_: &fs::Metadata) -> Option<(i64, i64)> {
    None
}
