//! Reading what another process writes, and taking over from it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use shape_meta_core::{
    Activity, Counts, Entry, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record,
    RefreshReport, Relation, Result, Scan, Seq, Timestamp,
};
use shape_meta_sqlite::{OnLiveOwner, SqliteStandby as Database, SqliteStore};

use crate::{
    Builder, ShapeCleaner, ShapeMeta,
    database::{self, indexes_below},
    layers::{Below, Layers, below},
};

/// A store that reads what the owner of a database writes, and becomes the owner when it is promoted: for the new
/// process of a rolling deploy, and for one that only reads.
///
/// What memory serves ([cached](Builder::cached)) shows what it was last [refreshed](Self::refresh) with; what lies
/// on disk is read as it is now, so a shape that was removed meanwhile has metadata and no record for that long. What
/// the owner has acknowledged and not written yet nobody else can see.
///
/// Cloning it is one atomic increment. Its methods are those of [`ReadShapes`] and
/// [`ReadShapesExt`](crate::ReadShapesExt). Once promoted, it reads through the store that it has become, and so
/// whoever was given a clone for reading need not be told.
///
/// ```no_run
/// # #[cfg(all(feature = "cache", feature = "buffer"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use shape_meta::{BufferOptions, CacheOptions, OnLiveOwner, NoopCleaner, ShapeMeta, prelude::*};
///
/// let standby = ShapeMeta::builder(NoopCleaner)
///     .cached(CacheOptions::default())
///     .buffered(BufferOptions::default())
///     .open_standby("/var/lib/sync/shapes")?;
/// // Serve reads; and every second or so:
/// standby.refresh()?;
/// // When the old process was told to end:
/// let store = standby.promote(OnLiveOwner::Wait(Duration::from_secs(30)))?;
/// store.mark_snapshot_started("54334872-1768476874000000", Wait::No)?;
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "cache", feature = "buffer")))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Standby(Arc<Inner>);

struct Inner {
    database: Arc<Database>,
    below: Below<Arc<Database>>,
    promoted: OnceLock<ShapeMeta>,
    directory: PathBuf,
    /// What a promotion needs, and one promotion at a time.
    waiting: Mutex<Waiting>,
}

struct Waiting {
    cleaner: Box<dyn ShapeCleaner>,
    layers: Layers,
}

impl Builder {
    /// Opens the database in this directory beside its owner, to read it, and to own it later: what this builder
    /// composes is what [`Standby::promote`] makes. Nothing is written, and the cleaner is not called.
    ///
    /// # Errors
    ///
    /// Those of [`shape_meta_sqlite::SqliteStandby::open`]: among them `NotFound`, if there is no database yet.
    pub fn open_standby(self, directory: impl AsRef<Path>) -> Result<Standby> {
        let directory = directory.as_ref();
        let Self { cleaner, mut layers, sqlite } = self;
        let options = sqlite.disk_indexes(indexes_below(&layers)).last_reads(layers.cache.is_none());
        let database = Arc::new(Database::open(directory, options, Arc::clone(&layers.observer))?);
        let below = below(Arc::clone(&database), &mut layers)?;
        Ok(Standby(Arc::new(Inner {
            database,
            below,
            promoted: OnceLock::new(),
            directory: directory.to_owned(),
            waiting: Mutex::new(Waiting { cleaner, layers }),
        })))
    }
}

impl Standby {
    /// Brings what is in memory up to date with what the owner has written, in one step: readers never miss a shape
    /// that was there before and is there afterwards.
    ///
    /// Reads what has changed, some microseconds for each change, however many shapes there are; and everything, as at
    /// open, if the owner does not know any more what has changed, because so much has, or because its database was
    /// repaired. Without a cache all that has to be found out is whether it was. Nothing to do once it is promoted.
    ///
    /// # Errors
    ///
    /// If the database cannot be read, or is not there any more. Memory serves what it served before.
    pub fn refresh(&self) -> Result<RefreshReport> {
        match self.0.promoted.get() {
            Some(_) => Ok(RefreshReport::default()),
            None => {
                self.0.database.check_source()?;
                self.0.below.refresh()
            }
        }
    }

    /// Becomes the owner: takes ownership, does what [`Builder::open`] does (migration, repair, recovery with the
    /// cleaner), brings memory up to date, and starts to write. Reads go on all the time. Promoting again returns the
    /// same store.
    ///
    /// If the present owner lives, it is refused, waited for or taken over, as is asked for; see [`OnLiveOwner`] for what
    /// each means. Shapes whose snapshot is not complete are removed, as at every open: whoever made them is gone.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::open`]; `AlreadyOpen` in particular if there is another owner. It is a standby as before then, and
    /// can be tried again; also if the failure came after it had taken ownership, which it keeps.
    pub fn promote(&self, on_live_owner: OnLiveOwner) -> Result<ShapeMeta> {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.0.promoted.get() {
            return Ok(store.clone());
        }
        let observer = Arc::clone(&waiting.layers.observer);
        let span = observer.begin(Activity::Promote { path: &self.0.directory });
        let promoted = self.promoted(&waiting, on_live_owner);
        if let Some(span) = span {
            span.end(promoted.as_ref().err());
        }
        let store = promoted?;
        Ok(self.0.promoted.get_or_init(|| store).clone())
    }

    fn promoted(&self, waiting: &Waiting, on_live_owner: OnLiveOwner) -> Result<ShapeMeta> {
        let Waiting { cleaner, layers } = waiting;
        let owner = self.0.database.promote(on_live_owner)?;
        let report = database::put_in_order(owner, &**cleaner, &*layers.observer)?;
        // Nobody else writes any more, so this is all there is.
        self.0.below.refresh()?;
        self.0.below.learn_reads(|created| owner.first_seen_at(created))?;
        let stack = self.0.below.under(layers.clone())?;
        Ok(ShapeMeta::over_database(stack, database::Database::promoted(&self.0.database, report)))
    }

    /// The store that it has become, once it was promoted.
    pub fn store(&self) -> Option<ShapeMeta> {
        self.0.promoted.get().cloned()
    }

    /// The store that owns the database, once it was promoted; for its size and its maintenance.
    pub fn database(&self) -> Option<&SqliteStore> {
        self.0.database.owner()
    }

    fn reads(&self) -> &dyn ReadShapes {
        match self.0.promoted.get() {
            Some(store) => store,
            None => self.0.below.reads(),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for Standby {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        self.reads().metadata(handle)
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        self.reads().handle_for(key)
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        self.reads().entry(handle)
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        self.reads().record(handle)
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.reads().handles_for_relations(relations)
    }

    fn counts(&self) -> Result<Counts> {
        self.reads().counts()
    }

    fn scan(&self) -> Result<Scan<'_>> {
        self.reads().scan()
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        self.reads().touch(handle, at)
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.reads().least_recently_used(n, excluded)
    }

    fn last_seq(&self) -> Result<Seq> {
        self.reads().last_seq()
    }
}

impl std::fmt::Debug for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standby")
            .field("directory", &self.0.directory)
            .field("promoted", &self.0.promoted.get().is_some())
            .finish_non_exhaustive()
    }
}
