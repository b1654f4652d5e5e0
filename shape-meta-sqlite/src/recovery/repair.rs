use shape_meta_core::{Error, ErrorKind, Repaired, Result, TrustedState};

use crate::{SqliteStore, connection::operation::Operation, format::meta::Meta, recovery::salvage};

impl SqliteStore {
    /// What [`rebuild`](shape_meta_core::RebuildStore::rebuild) does, for this reason. Batches wait; reads go on, from the
    /// old file until the new one is in place.
    pub(crate) fn repair_for(&self, error: Option<Error>, known: TrustedState<'_>) -> Result<Repaired> {
        let Some(files) = &self.files else {
            let message = "a database in memory cannot be repaired; nothing of it lies in a file";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        // A damaged one may not be able to say whose turn it is; then the lock has to do.
        let turn = self
            .connections
            .write(Operation::Repair, |connection| Meta::read(connection)?.check_owner(self.report.epoch));
        match &turn {
            Err(error)
                if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Closed | ErrorKind::Standby) =>
            {
                return Err(error.clone());
            }
            Err(_) if !self.has_lock() => {
                let message = "another owner has taken the database over; nothing is repaired from here";
                return Err(Error::new(ErrorKind::Fenced, message));
            }
            _ => {}
        }
        let error = error.or(turn.err()).unwrap_or_else(|| {
            Error::new(ErrorKind::Corrupt, "its owner asked for a repair; what is damaged is told below")
        });
        self.preload.discard();
        let (settings, epoch) = (self.connections.settings(), Some(self.report.epoch));
        self.connections.replace(|| salvage::rebuild(files, settings, error, &known, epoch, &*self.observer))
    }
}
