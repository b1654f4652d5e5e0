use shape_meta_core::{Error, ErrorKind, Known, Repaired, Result};

use crate::{SqliteStore, meta::Meta, operation::Operation, salvage};

impl SqliteStore {
    /// Puts a fresh database in the place of this one, with all that is sound in it and all that is `known`
    /// besides; the old one is moved aside, and nothing of it deleted. For a database that was found damaged
    /// while it is open. Batches wait; reads go on, from the old file until the new one is in place.
    ///
    /// Shapes whose definition cannot be had are gone afterwards: the report names them, and the next
    /// [`recover`](Self::recover) hands those out whose handle is known.
    ///
    /// Takes some seconds for every million shapes, and room for a second copy.
    ///
    /// # Errors
    ///
    /// `Fenced` if another owner has taken the database over, `Unsupported` for one in memory, and if the disk
    /// fails or is full. Then the damaged database is still in its place, and it can be tried again.
    pub fn repair(&self, known: Known<'_>) -> Result<Repaired> {
        self.repair_for(None, known)
    }

    pub(crate) fn repair_for(&self, error: Option<Error>, known: Known<'_>) -> Result<Repaired> {
        let Some(files) = &self.files else {
            let message = "a database in memory cannot be repaired; nothing of it lies in a file";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        // A damaged one may not be able to say whose turn it is; then the lock has to do.
        let turn = self
            .connections
            .write(Operation::Repair, |connection| Meta::read(connection)?.check_owner(self.report.epoch));
        match &turn {
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Closed) => {
                return Err(error.clone());
            }
            _ => {}
        }
        let error = error.or(turn.err()).unwrap_or_else(|| {
            Error::new(ErrorKind::Corrupt, "its owner asked for a repair; what is damaged is told below")
        });
        let (settings, epoch) = (self.connections.settings(), Some(self.report.epoch));
        self.connections.replace(|| salvage::rebuild(files, settings, error, &known, epoch, &*self.observer))
    }
}
