use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use shape_meta_core::Result;

use crate::{
    SqliteStore,
    connection::{connections::Pages, operation::Operation},
    error::{failed, failed_on},
    format::files,
};

const HOUR: Duration = Duration::from_secs(3600);

/// What a store takes, and what it does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SqliteStats {
    /// Bytes of the database file (of memory, for one in memory).
    pub database_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of the database that are free to be used again.
    pub free_bytes: u64,
    /// Connections that are open, the writer among them.
    pub connections: u32,
    /// Connections that are in use now.
    pub active: usize,
}

impl SqliteStore {
    /// What the store takes. Waits for the writer; for a gauge rather than for every request.
    ///
    /// # Errors
    ///
    /// If the database or the file system fails.
    pub fn stats(&self) -> Result<SqliteStats> {
        let (connections, active) = self.connections.numbers();
        let Pages { all, free, size } = self.connections.pages()?;
        let wal_bytes = match &self.files {
            Some(files) => {
                let log = files.companion("-wal");
                files::size(&log).map_err(failed_on("look at", &log))?
            }
            None => 0,
        };
        Ok(SqliteStats {
            database_bytes: all * size,
            wal_bytes,
            free_bytes: free * size,
            connections,
            active,
        })
    }

    /// Closes the reading connections that are not in use. They close by themselves when they were idle
    /// for long enough; this is for those who do not want to wait. The next read opens one again.
    pub fn close_idle_readers(&self) {
        self.connections.close_idle();
    }

    /// Closes the writing connection as well, after whoever uses it; it moves its log into the database on
    /// its way out. All that stays open is the lock file. The next batch opens one again. Does nothing more
    /// than [`close_idle_readers`](Self::close_idle_readers) where one connection serves all.
    pub fn close_idle(&self) {
        self.connections.rest();
    }

    /// Looks after the database if that was not done for an hour, as a batch is applied: so there is no
    /// thread for it, and a store that nobody changes is left alone.
    pub(crate) fn maintain_hourly(&self) {
        {
            let mut last = self.maintained.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() < HOUR {
                return;
            }
            *last = Instant::now();
        }
        // The batch is committed, and nothing depends on this; what is wrong with the file the next
        // batch will tell.
        let _ = self.maintain();
    }

    /// What is good to do from time to time, and is done hourly while batches are applied: lets SQLite look after its statistics, and cuts
    /// back a log that grew while a scan kept it from being reset. Short; batches wait for it.
    ///
    /// # Errors
    ///
    /// If the database fails. Nothing depends on it.
    pub fn maintain(&self) -> Result<()> {
        let has_log = self.connections.settings().has_readers();
        self.connections.write(Operation::Maintain, |connection| {
            connection.execute_batch("PRAGMA optimize").map_err(failed("optimize"))?;
            if has_log {
                // Busy is an answer here, not a failure: a reader still uses the log.
                connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                    .map_err(failed("empty the log"))?;
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
    struct Maintained(std::sync::atomic::AtomicUsize);

    impl Observer for Maintained {
        fn checkout(&self, checkout: &Checkout) {
            if checkout.label == "maintain" {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    }

    #[test]
    fn an_old_database_is_looked_after_with_the_next_batch_and_not_with_each() {
        let maintained = Arc::new(Maintained::default());
        let observer = Arc::clone(&maintained) as Arc<dyn Observer>;
        let store = SqliteStore::open_in_memory(SqliteOptions::default(), observer).expect("memory");
        let Some(long_ago) = Instant::now().checked_sub(HOUR) else { return };
        let apply = |through| {
            let batch = Batch { changes: Vec::new(), through: Seq::new(through) };
            store.apply(&batch).expect("memory does not fail");
            maintained.0.load(std::sync::atomic::Ordering::SeqCst)
        };
        assert_eq!(apply(1), 0);
        *store.maintained.lock().expect("not poisoned") = long_ago;
        assert_eq!([apply(2), apply(3)], [1, 1]);
    }
}
