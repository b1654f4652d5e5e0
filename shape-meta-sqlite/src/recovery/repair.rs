use shape_meta_core::{Error, ErrorKind, Repaired, Result, TrustedState};

use crate::{SqliteStore, connection::operation::Operation, format::meta::Meta, recovery::salvage};

impl SqliteStore {
    /// Repairs the database as [`rebuild`](shape_meta_core::RebuildStore::rebuild) does, and reports `error`
    /// as the reason. Commits wait meanwhile. Reads go on, from the old file until the new one is in place.
    ///
    /// # Errors
    ///
    /// `Fenced` if the store has lost ownership, `Unsupported` for a database in memory.
    pub(crate) fn repair_for(&self, error: Option<Error>, trusted: TrustedState<'_>) -> Result<Repaired> {
        let Some(files) = &self.files else {
            let message = "a database in memory cannot be repaired, since it has no file; open a new one";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        // The stored epoch may be unreadable in a damaged database. Then the lock decides.
        let ownership = self
            .connections
            .write(Operation::Repair, |connection| self.connections.check_owner(&Meta::read(connection)?));
        match &ownership {
            Err(error)
                if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Closed | ErrorKind::Standby) =>
            {
                return Err(error.clone());
            }
            Err(_) if !self.has_lock() => {
                let message = "a newer owner has taken over the database, so this store must not repair it; no \
                               file has changed. Repair it from its owner";
                return Err(Error::new(ErrorKind::Fenced, message));
            }
            _ => {}
        }
        let error = error.or(ownership.err()).unwrap_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "the owner requested a repair; the lost shapes are listed in the report",
            )
        });
        self.preload.discard();
        let (settings, owner) = (self.connections.settings(), self.connections.begin_rebuild()?);
        let is_owner = || self.has_lock();
        let repaired = self.connections.replace(|| {
            salvage::rebuild(files, settings, error, &trusted, Some(owner), is_owner, &*self.observer)
        })?;
        self.connections.write(Operation::Repair, |connection| self.recount_cleanup_tasks(connection))?;
        self.cleanup.announce();
        Ok(repaired)
    }
}
