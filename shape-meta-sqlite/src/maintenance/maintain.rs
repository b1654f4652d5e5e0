use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use shape_meta_core::Result;

use crate::{
    SqliteStore,
    connection::{connections::DatabaseSize, operation::Operation},
    error::{failed, failed_on},
    format::{files, meta::Meta},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Disk usage and connections of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SqliteStats {
    /// Bytes of the database file, or of memory for a database in memory.
    pub database_bytes: u64,
    /// Bytes of the WAL.
    pub wal_bytes: u64,
    /// Bytes of the free pages of the database, which later writes reuse.
    pub free_bytes: u64,
    /// Open connections, including the writer.
    pub connections: u32,
    /// Connections in use.
    pub active: usize,
}

impl SqliteStore {
    /// Returns disk usage and connections. Waits for the writer: for gauges, not for every request.
    ///
    /// # Errors
    ///
    /// If the database or the file system fails.
    pub fn stats(&self) -> Result<SqliteStats> {
        let (connections, active) = self.connections.open_and_active();
        let DatabaseSize { pages, free_pages, page_size } = self.connections.size()?;
        let wal_bytes = match &self.files {
            Some(files) => {
                let wal = files.companion("-wal");
                files::size(&wal).map_err(failed_on("read the size of", &wal))?
            }
            None => 0,
        };
        Ok(SqliteStats {
            database_bytes: pages * page_size,
            wal_bytes,
            free_bytes: free_pages * page_size,
            connections,
            active,
        })
    }

    /// Closes the idle readers now, instead of after the
    /// [idle time-out](crate::SqliteOptions::idle_timeout). The next read opens one again.
    pub fn close_idle_readers(&self) {
        self.connections.close_idle_readers();
    }

    /// Closes the idle readers and the writer, which checkpoints the WAL; only the lock file stays open.
    /// Waits for the operation that uses the writer. The next batch opens it again. Where one connection
    /// serves all, it stays open.
    pub fn close_idle(&self) {
        self.connections.close_idle();
    }

    /// Runs the maintenance if the last one was more than an hour ago. Called after each batch, so it needs
    /// no thread, and a store without changes is left alone.
    pub(crate) fn maintain_hourly(&self) {
        {
            let mut last = self.last_maintenance.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() < HOUR {
                return;
            }
            *last = Instant::now();
        }
        // The batch is committed and does not depend on this. If the file is at fault, the next batch fails.
        let _ = self.maintain();
    }

    /// Returns an error on a thread that is within an operation of the connection that writes: there an
    /// observer calls, and must not wait for another thread that needs this connection.
    ///
    /// # Errors
    ///
    /// `Unsupported`.
    pub fn check_not_writing(&self) -> Result<()> {
        self.connections.check_not_writing()
    }

    /// Updates the statistics of SQLite, and truncates a WAL that grew while a scan kept it from being reset.
    /// Short; batches wait for it. The store does this itself once an hour while batches are applied.
    ///
    /// # Errors
    ///
    /// If the database fails. Nothing depends on the maintenance.
    pub fn maintain(&self) -> Result<()> {
        let has_wal = self.connections.settings().has_readers();
        self.connections.write(Operation::Maintain, |connection| {
            self.connections.check_owner(&Meta::read(connection)?)?;
            connection.execute_batch("PRAGMA optimize").map_err(failed("optimize"))?;
            if has_wal {
                // A busy checkpoint is no failure: a reader still uses the WAL.
                connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                    .map_err(failed("truncate the WAL"))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shape_meta_core::{Batch, Checkout, Observer, Seq, ShapeStore};

    use super::*;
    use crate::SqliteOptions;

    #[derive(Default)]
    struct MaintenanceCounter(std::sync::atomic::AtomicUsize);

    impl Observer for MaintenanceCounter {
        fn checkout(&self, checkout: &Checkout) {
            if checkout.label == "maintain" {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    }

    #[test]
    fn maintenance_runs_with_the_first_batch_after_an_hour() {
        let maintained = Arc::new(MaintenanceCounter::default());
        let observer = Arc::clone(&maintained) as Arc<dyn Observer>;
        let store = SqliteStore::open_in_memory(SqliteOptions::default(), observer).expect("memory");
        let Some(long_ago) = Instant::now().checked_sub(HOUR) else { return };
        let apply = |through| {
            let batch = Batch { changes: Vec::new(), through: Seq::new(through) };
            store.apply(&batch).expect("memory does not fail");
            maintained.0.load(std::sync::atomic::Ordering::SeqCst)
        };
        assert_eq!(apply(1), 0);
        *store.last_maintenance.lock().expect("no panic") = long_ago;
        assert_eq!([apply(2), apply(3)], [1, 1]);
    }
}
