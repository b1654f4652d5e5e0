use std::{ops::ControlFlow, path::Path};

use shape_meta_core::Result;

use crate::{BackupProgress, SqliteStore, connection::operation::Operation, inspector};

impl SqliteStore {
    /// Copies the database into the directory `to`, which must not hold one, while it is used. Blocks for the
    /// disk: about three seconds for every million shapes. `progress` is called about every thousand pages,
    /// and ends the backup by `Break`; nothing is left of it then.
    ///
    /// The copy holds what was committed when the call began, and neither changes that are pending in a
    /// buffer nor last-read times that are not saved: flush first. It is another database from its next
    /// opening on (C13). It is made under another name, and gets its own after it is complete and synced.
    ///
    /// The call holds a reader, as an open scan does, and the WAL grows meanwhile. With
    /// [`Mode::Exclusive`](crate::Mode::Exclusive), and in memory, there is one connection, and everything
    /// else waits for it.
    ///
    /// # Errors
    ///
    /// `Interrupted` if it was cancelled. `Configuration` if the directory holds a database already. `Busy`
    /// if all readers are in use, or the database was replaced meanwhile. Otherwise an error of the kind that
    /// the disk or SQLite reports, such as `StorageFull`. In each case the directory holds what it held
    /// before.
    pub fn backup(&self, to: &Path, progress: impl FnMut(BackupProgress) -> ControlFlow<()>) -> Result<()> {
        self.connections.read(Operation::Backup, |connection| {
            inspector::back_up(connection, self.files.as_ref(), to, progress)
        })
    }
}
