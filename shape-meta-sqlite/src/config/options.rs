use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{ConnectionLimit, DiskIndexes, Durability, Mode, OnLiveOwner, Verifier};

/// How much of the database is checked when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum IntegrityCheck {
    /// Nothing. Damage shows itself when a damaged page is read.
    Nothing,
    /// All that opening reads anyway: every table but those of the definitions and of the look-ups. About
    /// 0.2 seconds for every million shapes.
    #[default]
    Metadata,
    /// The whole file. About a second for every million shapes.
    Everything,
}

/// What happens to a database that is found damaged when it is opened, or when its rows are first gone through, in
/// [`SqliteStore::recover`](crate::SqliteStore::recover).
///
/// Only damage counts: a database that is busy, locked, or cannot be read is never taken for damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnCorruption {
    /// All of it that is sound is carried into a new database, and the damaged one, its log and its journal are
    /// moved aside together, under a name with the time. Nothing is deleted. The report of the opening and the
    /// observer say what was saved, and what was lost and why. Takes some seconds for every million shapes, and
    /// room for a second copy.
    #[default]
    Quarantine,
    /// Opening fails, and everything stays where it is.
    Refuse,
}

/// How a [`SqliteStore`](crate::SqliteStore) is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) mode: Mode,
    pub(crate) durability: Durability,
    pub(crate) disk_indexes: DiskIndexes,
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
    pub(crate) verifier: Option<Verifier>,
    pub(crate) last_reads: bool,
    pub(crate) max_row_bytes: Option<u32>,
    pub(crate) vfs: Option<Arc<str>>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            durability: Durability::default(),
            disk_indexes: DiskIndexes::default(),
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
            verifier: None,
            last_reads: true,
            max_row_bytes: None,
            vfs: None,
        }
    }
}

impl SqliteOptions {
    /// How the file is shared between connections. Default [`Mode::Wal`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// What a committed change survives. Default [`Durability::PowerLossDurable`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether look-ups are answered from disk. Default [`DiskIndexes::Maintained`]; choose
    /// [`DiskIndexes::Omitted`] under a cache that mirrors everything.
    pub fn disk_indexes(mut self, disk_indexes: DiskIndexes) -> Self {
        self.disk_indexes = disk_indexes;
        self
    }

    /// The most reading connections of the pool, at least 1. Default 8. A read that finds all of them in
    /// use waits; each costs up to [`reader_cache_size`](Self::reader_cache_size), and an open scan
    /// keeps one.
    pub fn max_readers(mut self, connections: u32) -> Self {
        self.max_readers = connections;
        self
    }

    /// How long a connection may be idle before it is closed. Default 60 seconds.
    ///
    /// Those that read go first, and the one that writes too ([`Mode::Wal`] alone); its log is moved into the
    /// database then. A store that is idle keeps nothing open but its lock file. The first read after
    /// that opens a connection again, which takes about 0.1 milliseconds, and the first write half of one.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// A bound on connections that this store shares with others. Default: none but its own
    /// [`max_readers`](Self::max_readers). For processes that open many stores.
    pub fn connection_limit(mut self, cap: &ConnectionLimit) -> Self {
        self.connection_limit = Some(cap.clone());
        self
    }

    /// How long a read waits for a connection when all are in use, before it fails as `Busy`. Default 5
    /// seconds. Too short, and a storm of reads fails; too long, and a caller hangs where scans are kept
    /// open.
    pub fn checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout;
        self
    }

    /// How long an operation waits for a lock that a stranger holds on the file. Default 5 seconds. Too
    /// short, and an operator's glance at the file fails a flush (which is retried); too long, and a caller
    /// hangs.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The page cache of the writing connection, in bytes. Default 16 MiB. With
    /// [`DiskIndexes::Maintained`], give it the size of the index tables (about 20 bytes a shape for each of the
    /// three) if you can; with [`DiskIndexes::Omitted`], more does not help.
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// The page cache of each reading connection, in bytes. Default 2 MiB. The kernel caches the file
    /// too, so more saves system calls rather than disk reads.
    pub fn reader_cache_size(mut self, bytes: u64) -> Self {
        self.reader_cache_bytes = bytes;
        self
    }

    /// The page size of a database that is created: a power of two from 512 to 65536 bytes; an existing
    /// database keeps its own. Default 16384 with [`DiskIndexes::Omitted`], where pages are only ever filled
    /// up, and 4096 with [`DiskIndexes::Maintained`], where single changes are twice as fast as with 16384. In
    /// batches of 10,000 it is the other way round (46 against 60 thousand a second, measured while
    /// filling to half a million): choose 16384 under a write buffer.
    pub fn page_size(mut self, bytes: u32) -> Self {
        self.page_size = Some(bytes);
        self
    }

    /// How many bytes the write-ahead log gathers before the writer moves them into the database.
    /// Default 16 MiB. More absorbs longer bursts and makes the longest commit longer (about 0.15 seconds
    /// at 16 MiB, 0.35 at 64 MiB on the machine of the design's figures); less syncs more often.
    pub fn wal_autocheckpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// How much is checked at open. Default [`IntegrityCheck::Metadata`].
    pub fn integrity_check(mut self, integrity_check: IntegrityCheck) -> Self {
        self.integrity_check = integrity_check;
        self
    }

    /// What happens to a damaged database. Default [`OnCorruption::Quarantine`].
    pub fn on_corruption(mut self, on_corruption: OnCorruption) -> Self {
        self.on_corruption = on_corruption;
        self
    }

    /// What happens if another owner of the database is alive. Default [`OnLiveOwner::Fail`].
    pub fn on_live_owner(mut self, on_live_owner: OnLiveOwner) -> Self {
        self.on_live_owner = on_live_owner;
        self
    }

    /// What else must hold of a shape besides the checksums of its rows, for it to be saved from a damaged
    /// database. Default nothing: rows of this version carry checksums. Databases that were written by
    /// version 1 are better checked with it; see [`Verifier::of`].
    pub fn verifier(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Whether the store keeps last-read times itself, in memory: about 50 bytes for every shape that is
    /// read. Default true; turn it off under a cache, which keeps them in its entries.
    ///
    /// Without it a recovery keeps the entries that it has read, some 130 bytes each, until the cache loads them, or
    /// something else is done that changes the database: so that they are read once at boot.
    pub fn last_reads(mut self, keep: bool) -> Self {
        self.last_reads = keep;
        self
    }

    /// The largest row in bytes, at least 4,096, so that a larger definition is refused for good
    /// ([`ErrorKind::Rejected`]). Default: SQLite's own limit of a billion. The limits of the layer on top
    /// should be reached first; this one is for those who write batches themselves.
    pub fn max_row_bytes(mut self, bytes: u32) -> Self {
        self.max_row_bytes = Some(bytes);
        self
    }

    /// The SQLite VFS through which the database, its log and its journal are read and written, by the
    /// name under which it was registered in this process. Default: SQLite's own for this system.
    ///
    /// It must keep the files in the directory under their names: what is looked at before SQLite (the lock
    /// of the owner, the first bytes of the file, the moving aside of a damaged database) does not go
    /// through it. [`Mode::Wal`] needs one with shared memory. Opening fails with
    /// [`ErrorKind::Configuration`] if there is none of this name. Without effect in memory.
    pub fn vfs(mut self, name: impl Into<Arc<str>>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Configuration, what));
        if self.max_readers == 0 {
            return wrong(
                "the pool needs at least one reading connection; set `max_readers` to 1 or more".into(),
            );
        }
        match self.page_size {
            Some(bytes) if !bytes.is_power_of_two() || !(512..=65_536).contains(&bytes) => {
                wrong(format!("the page size must be a power of two from 512 to 65536, and is {bytes}"))
            }
            _ => match self.max_row_bytes {
                // The schema itself lies in rows.
                Some(bytes) if bytes < 4_096 => {
                    wrong(format!("the largest row must be allowed at least 4096 bytes, not {bytes}"))
                }
                _ => self.vfs.as_deref().map_or(Ok(()), has_vfs),
            },
        }
    }

    pub(crate) fn page_size_of_new(&self) -> u32 {
        self.page_size.unwrap_or(match self.disk_indexes {
            DiskIndexes::Maintained => 4_096,
            DiskIndexes::Omitted => 16_384,
        })
    }
}

/// Asked before anything is touched: what SQLite says to a name that it does not know could be taken for
/// damage.
fn has_vfs(name: &str) -> Result<()> {
    Connection::open_in_memory_with_flags_and_vfs(OpenFlags::default(), name).map(drop).map_err(|source| {
        let message = format!(
            "SQLite knows no VFS named {name:?} in this process; nothing was touched. Register it before \
             opening, or leave the option out"
        );
        Error::new(ErrorKind::Configuration, message).with_source(source)
    })
}
