use shape_meta_core::Result;

use crate::{
    SqliteStore,
    error::{failed, failed_on},
    files,
    operation::Operation,
};

/// What a store takes, and what it does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of the database file (of memory, for one in memory).
    pub database_bytes: u64,
    /// Bytes of the write-ahead log.
    pub log_bytes: u64,
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
    pub fn stats(&self) -> Result<Stats> {
        let (connections, active) = self.connections.numbers();
        let (pages, free, page_size) = self.connections.write(Operation::Stats, |connection| {
            let number =
                |name| connection.pragma_query_value(None, name, |row| row.get(0).map(i64::cast_unsigned));
            let numbers = || Ok((number("page_count")?, number("freelist_count")?, number("page_size")?));
            numbers().map_err(failed("read the size of the database"))
        })?;
        let log_bytes = match &self.files {
            Some(files) => {
                let log = files.companion("-wal");
                files::size(&log).map_err(failed_on("look at", &log))?
            }
            None => 0,
        };
        Ok(Stats {
            database_bytes: pages * page_size,
            log_bytes,
            free_bytes: free * page_size,
            connections,
            active,
        })
    }

    /// Closes the reading connections that are not in use. They close by themselves when they were idle
    /// for long enough; this is for those who do not want to wait. The next read opens one again.
    pub fn close_idle_readers(&self) {
        self.connections.close_idle();
    }

    /// What is good to do from time to time, hourly say: lets SQLite look after its statistics, and cuts
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
