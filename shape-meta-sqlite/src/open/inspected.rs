use shape_meta_core::{Error, ErrorKind, Observer, Repaired, Result, TrustedState};

use crate::{
    connection::settings::Settings,
    format::files::Files,
    open::{
        header::{self, FileState},
        links,
        locked::LockedDirectory,
    },
    ownership::{lock::OwnerLock, presence::Presence},
    recovery::salvage,
};

/// Step 2: a database file of this crate, or one that is missing or damaged. Holds the owner lock.
pub(super) struct InspectedFile<'a> {
    lock: OwnerLock,
    presence: Presence,
    files: &'a Files,
    settings: &'a Settings,
    state: FileState,
}

impl<'a> InspectedFile<'a> {
    /// Finishes a rebuild that a crash interrupted, and then inspects the first bytes of the database file.
    pub(super) fn inspect(directory: LockedDirectory<'a>) -> Result<Self> {
        let (lock, files, settings) = directory.into_parts();
        links::refuse(files)?;
        salvage::finish(files)?;
        let state = header::inspect(files)?;
        // Registered after the inspection, because the inspection does not open a registered file.
        let presence = Presence::register(files);
        Ok(Self { lock, presence, files, settings, state })
    }

    /// Puts a new database with all sound rows in the place of the damaged one, which is moved aside. Nothing
    /// is deleted.
    pub(super) fn rebuild(self, error: Error, observer: &dyn Observer) -> Result<(Self, Repaired)> {
        let Self { lock, presence, files, settings, .. } = self;
        // No connection of this open is left, so the damaged file need not be kept open for its locks.
        drop(presence);
        let known = TrustedState::default();
        let is_owner = || lock.is_current();
        let repaired = salvage::rebuild(files, settings, error, &known, None, is_owner, observer)?;
        let presence = Presence::register(files);
        Ok((Self { lock, presence, files, settings, state: FileState::Database }, repaired))
    }

    /// Whether this error means that an existing database is damaged. A busy, locked or unreadable database
    /// does not count.
    pub(super) fn is_corruption(&self, error: &Error) -> bool {
        self.state != FileState::Missing && error.kind() == ErrorKind::Corrupt
    }

    /// Returns the error of an open that must not move the damaged database aside.
    pub(super) fn refused(&self, error: Error) -> Error {
        let message = format!(
            "the database {} is damaged; it was not changed. Repair it, move it away with its -wal and -shm, \
             or open it with `OnCorruption::Quarantine`",
            self.files.database().display()
        );
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    }

    pub(super) fn files(&self) -> &'a Files {
        self.files
    }

    pub(super) fn settings(&self) -> &'a Settings {
        self.settings
    }

    pub(super) fn state(&self) -> FileState {
        self.state
    }

    pub(super) fn lock(&self) -> &OwnerLock {
        &self.lock
    }

    pub(super) fn into_guards(self) -> (OwnerLock, Presence) {
        (self.lock, self.presence)
    }
}
