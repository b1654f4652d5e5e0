use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags};
use shape_meta_core::{Error, ErrorKind, Result, StampCheck};

use crate::{ConnectionLimit, DiskIndexes, Durability, Mode, OnLiveOwner, StopHandle, Verifier};

/// The part of the database that an open checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum IntegrityCheck {
    /// Nothing. Damage is found when a damaged page is read.
    Nothing,
    /// All that an open reads anyway: every table except the definitions and the index tables. About 0.2
    /// seconds for every million shapes.
    #[default]
    Metadata,
    /// The whole file, and that no row is missing which another one needs. About two seconds for every
    /// million shapes.
    Everything,
}

/// The reaction to a damaged database, found by an open or by the first pass over its rows in
/// [`SqliteStore::recover`](crate::SqliteStore::recover).
///
/// A database that is busy, locked, or cannot be read is never taken for damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnCorruption {
    /// All sound rows are carried into a new database. The damaged one, its WAL and its journal are moved
    /// aside together, under a name with the time. Nothing is deleted. The open report and the observer say
    /// what was saved, and what was lost and why. Takes some seconds for every million shapes, and disk space
    /// for a second copy.
    #[default]
    Quarantine,
    /// The open fails with `Corrupt`, and all files stay in place.
    Refuse,
}

/// Options of a [`SqliteStore`](crate::SqliteStore).
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) mode: Mode,
    pub(crate) durability: Durability,
    pub(crate) disk_indexes: DiskIndexes,
    pub(crate) cleanup_tasks: bool,
    pub(crate) max_readers: u32,
    pub(crate) idle_timeout: Duration,
    pub(crate) checkout_timeout: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) connection_limit: Option<ConnectionLimit>,
    pub(crate) cache_bytes: u64,
    pub(crate) reader_cache_bytes: u64,
    pub(crate) page_size: Option<u32>,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) integrity_check: IntegrityCheck,
    pub(crate) on_corruption: OnCorruption,
    pub(crate) on_live_owner: OnLiveOwner,
    pub(crate) stop: Option<StopHandle>,
    pub(crate) verifier: Option<Verifier>,
    pub(crate) stamp: Option<StampCheck>,
    pub(crate) last_reads: bool,
    pub(crate) max_row_bytes: Option<u32>,
    pub(crate) vfs: Option<Arc<str>>,
}

/// The longest idle time-out: longer than any process runs, and short enough to be added to any moment.
const LONGEST_IDLE: Duration = Duration::from_secs(100 * 365 * 86_400);
/// The shortest, so that the check of a writer in use does not spin.
const SHORTEST_IDLE: Duration = Duration::from_millis(1);
/// The longest busy time-out that SQLite takes: 24 days.
const LONGEST_BUSY: Duration = Duration::from_millis(i32::MAX as u64);

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            durability: Durability::default(),
            disk_indexes: DiskIndexes::default(),
            cleanup_tasks: true,
            max_readers: 8,
            idle_timeout: Duration::from_secs(60),
            checkout_timeout: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(5),
            connection_limit: None,
            cache_bytes: 16 << 20,
            reader_cache_bytes: 2 << 20,
            page_size: None,
            checkpoint_bytes: 16 << 20,
            integrity_check: IntegrityCheck::default(),
            on_corruption: OnCorruption::default(),
            on_live_owner: OnLiveOwner::default(),
            stop: None,
            verifier: None,
            stamp: None,
            last_reads: true,
            max_row_bytes: None,
            vfs: None,
        }
    }
}

impl SqliteOptions {
    /// Sets the way in which connections share the file. Default [`Mode::Wal`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the failures that a committed change survives. Default [`Durability::PowerLossDurable`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets whether the database has index tables for look-ups. Default [`DiskIndexes::Maintained`]; choose
    /// [`DiskIndexes::Omitted`] under a cache that mirrors all look-ups.
    pub fn disk_indexes(mut self, disk_indexes: DiskIndexes) -> Self {
        self.disk_indexes = disk_indexes;
        self
    }

    /// Sets whether a removed shape leaves a cleanup task in the database, until the deletion of its stored
    /// data is [acknowledged](crate::SqliteStore::ack_cleanup) (C12). Default true. Set it to false only if
    /// no data is stored for shapes: then a removal is cheaper, and existing tasks stay as they are.
    pub fn cleanup_tasks(mut self, cleanup_tasks: bool) -> Self {
        self.cleanup_tasks = cleanup_tasks;
        self
    }

    /// Sets the maximum number of readers (reading connections), at least 1. Default 8. A read that finds all
    /// of them in use waits. Each takes up to [`reader_cache_size`](Self::reader_cache_size) of memory, and
    /// an open scan holds one.
    pub fn max_readers(mut self, connections: u32) -> Self {
        self.max_readers = connections;
        self
    }

    /// Sets the time after which an idle connection is closed. Default 60 seconds; at least a millisecond.
    /// With `Duration::MAX` it stays open.
    ///
    /// In [`Mode::Wal`] the writer is closed too, which checkpoints the WAL: an idle store keeps only its
    /// lock file open. The next read opens a reader in about 0.1 milliseconds, and the next write the writer
    /// in about 0.5.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.clamp(SHORTEST_IDLE, LONGEST_IDLE);
        self
    }

    /// Sets a limit on connections that this store shares with others. Default: only its own
    /// [`max_readers`](Self::max_readers). For processes that open many stores.
    pub fn connection_limit(mut self, limit: &ConnectionLimit) -> Self {
        self.connection_limit = Some(limit.clone());
        self
    }

    /// Sets how long a read waits for a connection when all are in use, before it fails with `Busy`. Default
    /// 5 seconds. If it is too short, a storm of reads fails; if it is too long, a caller hangs while scans
    /// are kept open.
    pub fn checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout;
        self
    }

    /// Sets how long an operation waits for a lock that another program holds on the file, before it fails
    /// with `Busy`. Default 5 seconds; 24 days at most. If it is too short, an operator's query fails a
    /// flush, which is then retried; if it is too long, a caller hangs.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout.min(LONGEST_BUSY);
        self
    }

    /// Sets the page cache of the writer, in bytes. Default 16 MiB. With [`DiskIndexes::Maintained`], the
    /// best size is that of the index tables: about 20 bytes a shape for each of the three. With
    /// [`DiskIndexes::Omitted`], more does not help.
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets the page cache of each reader, in bytes. Default 2 MiB. The kernel caches the file too, so a
    /// larger cache saves system calls rather than disk reads.
    pub fn reader_cache_size(mut self, bytes: u64) -> Self {
        self.reader_cache_bytes = bytes;
        self
    }

    /// Sets the page size of a new database: a power of two from 512 to 65536 bytes. An existing database
    /// keeps its own. Default 16384 with [`DiskIndexes::Omitted`], where pages are only appended, and 4096
    /// with [`DiskIndexes::Maintained`], where single changes are twice as fast as with 16384. Batches of
    /// 10,000 are faster with 16384 (60 against 46 thousand a second, measured while filling to half a
    /// million): choose it under a write buffer.
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = Some(bytes);
        self
    }

    /// Sets the size of the WAL at which the writer checkpoints it, in bytes. Default 16 MiB. A larger WAL
    /// absorbs longer bursts and makes the longest commit longer (about 0.15 seconds at 16 MiB, 0.35 at 64
    /// MiB on the machine of the design's figures); a smaller one syncs more often.
    pub fn wal_autocheckpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// Sets the part of the database that an open checks. Default [`IntegrityCheck::Metadata`].
    pub fn integrity_check(mut self, integrity_check: IntegrityCheck) -> Self {
        self.integrity_check = integrity_check;
        self
    }

    /// Sets the reaction to a damaged database. Default [`OnCorruption::Quarantine`].
    pub fn on_corruption(mut self, on_corruption: OnCorruption) -> Self {
        self.on_corruption = on_corruption;
        self
    }

    /// Sets the stamp of the application, and what an open does with a database that has another one: it is
    /// kept, refused, emptied through the cleaner, or re-keyed. Default: none; then the database keeps its
    /// stamp, and nothing is compared. A standby compares when it is promoted.
    ///
    /// A re-key reads and writes every shape: about ten seconds for a million. It goes on after a crash.
    pub fn stamp(mut self, check: StampCheck) -> Self {
        self.stamp = Some(check);
        self
    }

    /// Sets the reaction to another live owner of the database. Default [`OnLiveOwner::Fail`].
    pub fn on_live_owner(mut self, on_live_owner: OnLiveOwner) -> Self {
        self.on_live_owner = on_live_owner;
        self
    }

    /// Sets a handle that ends the wait of [`OnLiveOwner::Wait`]. Default: none, so that the wait ends with
    /// its time-out.
    pub fn stop_handle(mut self, handle: &StopHandle) -> Self {
        self.stop = Some(handle.clone());
        self
    }

    /// Returns whether there is a [`stop_handle`](Self::stop_handle).
    pub fn has_stop_handle(&self) -> bool {
        self.stop.is_some()
    }

    /// Returns whether an open waits for a live owner.
    pub fn waits_for_live_owner(&self) -> bool {
        matches!(self.on_live_owner, OnLiveOwner::Wait(_))
    }

    /// Sets a check that a shape must pass, in addition to the checksums of its rows, to be saved from a
    /// damaged database. Default: none. Worth setting for databases that version 1 wrote, whose rows have no
    /// checksums; see [`Verifier::of`].
    pub fn verifier(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Sets whether the store keeps last-read times itself, in memory: about 50 bytes for every shape that is
    /// read. Default true; turn it off under a cache, which keeps them in its entries.
    ///
    /// If it is off, a recovery keeps the entries that it reads, about 130 bytes each, until the cache loads
    /// them or the database changes. So a boot reads each row once.
    pub fn last_reads(mut self, keep: bool) -> Self {
        self.last_reads = keep;
        self
    }

    /// Sets the maximum size of a row in bytes, at least 4,096. A larger definition fails with
    /// [`ErrorKind::Rejected`]. Default: SQLite's own limit of a billion. For callers that apply batches
    /// themselves; under `Direct` or `Buffered` their limits apply first.
    pub fn max_row_bytes(mut self, bytes: u32) -> Self {
        self.max_row_bytes = Some(bytes);
        self
    }

    /// Sets the SQLite VFS through which the database, its WAL and its journal are read and written, by the
    /// name under which it is registered in this process. Default: SQLite's own for this system.
    ///
    /// The VFS must keep the files in the directory under their names: the owner lock, the inspection of the
    /// first bytes, and quarantine do not go through it. [`Mode::Wal`] needs a VFS with shared memory. An
    /// open fails with [`ErrorKind::Configuration`] if no VFS has this name. Has no effect in memory.
    pub fn vfs(mut self, name: impl Into<Arc<str>>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    /// Checks all options. Touches no file.
    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::new(ErrorKind::Configuration, what));
        if self.max_readers == 0 {
            return invalid(
                "`max_readers` is 0, and a store needs at least one reader; set it to 1 or more".into(),
            );
        }
        match self.page_size {
            Some(bytes) if !bytes.is_power_of_two() || !(512..=65_536).contains(&bytes) => {
                invalid(format!("`page_size` is {bytes}; it must be a power of two from 512 to 65536"))
            }
            _ => match self.max_row_bytes {
                // The texts of the schema are rows, too.
                Some(bytes) if bytes < 4_096 => {
                    invalid(format!("`max_row_bytes` is {bytes}; it must be at least 4096"))
                }
                _ => self.vfs.as_deref().map_or(Ok(()), has_vfs),
            },
        }
    }

    /// Returns the page size of a database that is created.
    pub(crate) fn page_size_of_new(&self) -> u32 {
        self.page_size.unwrap_or(match self.disk_indexes {
            DiskIndexes::Maintained => 4_096,
            DiskIndexes::Omitted => 16_384,
        })
    }
}

/// Checks that SQLite has a VFS of this name. Checked first, because SQLite's error for an unknown name could
/// be taken for damage.
fn has_vfs(name: &str) -> Result<()> {
    Connection::open_in_memory_with_flags_and_vfs(OpenFlags::default(), name).map(drop).map_err(|source| {
        let message = format!(
            "no SQLite VFS named {name:?} is registered in this process; nothing was changed. Register it \
             before opening, or leave the option `vfs` out"
        );
        Error::new(ErrorKind::Configuration, message).with_source(source)
    })
}
