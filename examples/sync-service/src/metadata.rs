//! Everything that this service asks of shape-meta, in one place.
//!
//! Reads are from memory and do not block. Methods that may block say so; the others are futures.

use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shape_meta::{
    AwaitShapesExt, BoxError, BufferOptions, Builder, CacheOptions, Check, DirectoryCleaner, ErrorKind,
    Evictor, EvictorOptions, EvictorThread, GetOrAdd, Handle, Health, HealthState, Keyed, MetricsObserver,
    Milestone, MutateError, MutateShapesExt, Mutation, NewShape, NotReached, OnLiveOwner, PostgresPool,
    ReadShapes, ReadShapesExt, Refusal, Relation, ShapeMeta, SnapshotState, Standby, StoreControl, Timestamp,
    Wait,
};

use crate::{
    definition::TableShape,
    error::{Failure, Result},
};

/// How long a mutation waits for capacity.
const WAIT: Duration = Duration::from_secs(5);
/// The time between two looks at the number of shapes.
const EVICTIONS: Duration = Duration::from_millis(200);
/// The time between two refreshes of a standby.
const REFRESH: Duration = Duration::from_millis(500);

/// How the metadata is kept.
pub(crate) struct MetadataOptions {
    pub(crate) database: Database,
    /// The directory of the logs: a file for each shape.
    pub(crate) logs: DirectoryCleaner,
    /// Whether mutations are acknowledged in memory. Otherwise each one is on disk when it returns.
    pub(crate) is_buffered: bool,
    /// The number of shapes above which the least recently read are removed.
    pub(crate) max_shapes: u64,
    /// A shape that was read more recently is not evicted.
    pub(crate) min_age: Duration,
}

/// Where the metadata is kept.
pub(crate) enum Database {
    /// SQLite in this directory. The processes of a deploy share it, and the logs.
    Directory(PathBuf),
    /// A stack in PostgreSQL, with this name. Nodes share it, and each has logs of its own.
    Stack(PostgresPool, String),
}

/// The metadata of all shapes. A clone is the same.
#[derive(Clone)]
pub(crate) struct Metadata(Arc<Inner>);

struct Inner {
    options: MetadataOptions,
    observer: MetricsObserver,
    role: Role,
    /// Shapes that have to go, whose removal was not accepted yet.
    unremoved: Mutex<HashSet<Handle>>,
}

/// What the metadata was opened as. A standby that was promoted reads through the promoted store.
enum Role {
    Owner(ShapeMeta),
    Standby(Standby),
}

impl Metadata {
    /// Opens the metadata, as a standby if another process owns it. Blocks.
    pub(crate) fn open(options: MetadataOptions) -> Result<Self, shape_meta::Error> {
        let observer = MetricsObserver::new();
        let builder = || builder(&options, &observer);
        let opened = match &options.database {
            Database::Directory(directory) => builder().open(directory),
            Database::Stack(pool, stack) => builder().open_postgres(pool, stack),
        };
        let role = match opened {
            Ok(store) => Role::Owner(store),
            Err(error) if error.kind() == ErrorKind::AlreadyOpen => Role::Standby(match &options.database {
                Database::Directory(directory) => builder().open_standby(directory)?,
                Database::Stack(pool, stack) => builder().open_postgres_standby(pool, stack)?,
            }),
            Err(error) => return Err(error),
        };
        Ok(Self(Arc::new(Inner { options, observer, role, unremoved: Mutex::default() })))
    }

    /// Makes this process the owner, once there is no other one. Refreshes a standby until then.
    pub(crate) async fn owned(&self) -> Result<(), shape_meta::Error> {
        let Role::Standby(standby) = &self.0.role else { return Ok(()) };
        if self.has_own_logs() {
            standby.promote_when_free();
            standby.promoted().await;
            return Ok(());
        }
        let refreshes = async {
            let mut ticks = tokio::time::interval(REFRESH);
            loop {
                ticks.tick().await;
                if let Err(error) = standby.refresh_async().await {
                    tracing::warn!(%error, "a standby could not be refreshed");
                }
            }
        };
        tokio::select! {
            promoted = standby.promote_async(OnLiveOwner::Wait(Duration::MAX)) => promoted.map(drop),
            never = refreshes => never,
        }
    }

    /// Waits until this process is the owner, which [`owned`](Self::owned) makes it.
    pub(crate) async fn promoted(&self) {
        if let Role::Standby(standby) = &self.0.role {
            standby.promoted().await;
        }
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.owner().is_some()
    }

    fn has_own_logs(&self) -> bool {
        matches!(self.0.options.database, Database::Stack(..))
    }

    /// Returns an error unless the logs of this process are those of the shapes: it is the owner, or has the
    /// same files as the owner.
    pub(crate) fn check_serves(&self) -> Result<()> {
        if !self.has_own_logs() || self.is_owner() && !self.is_fenced() {
            return Ok(());
        }
        Err(Failure::Overloaded("another node serves the shapes".to_owned(), 1))
    }

    /// Returns whether another process has taken the shapes over.
    pub(crate) fn is_fenced(&self) -> bool {
        self.health().is_some_and(|health| matches!(health.state, HealthState::Fenced { .. }))
    }

    /// Returns whether this process is the owner and mutations are accepted.
    pub(crate) fn is_ready(&self) -> bool {
        self.health().is_some_and(|health| health.is_ready())
    }

    fn reads(&self) -> &dyn ReadShapes {
        match &self.0.role {
            Role::Owner(store) => store,
            Role::Standby(standby) => standby,
        }
    }

    fn store(&self) -> Result<ShapeMeta> {
        let waits = || Failure::Overloaded("another process is about to hand its shapes over".to_owned(), 1);
        self.owner().ok_or_else(waits)
    }

    /// Returns the store if this process is the owner.
    pub(crate) fn owner(&self) -> Option<ShapeMeta> {
        match &self.0.role {
            Role::Owner(store) => Some(store.clone()),
            Role::Standby(standby) => standby.store(),
        }
    }

    pub(crate) fn observer(&self) -> MetricsObserver {
        self.0.observer.clone()
    }

    pub(crate) fn health(&self) -> Option<Health> {
        self.owner().map(|store| store.health())
    }

    pub(crate) fn log_path(&self, handle: &Handle) -> PathBuf {
        // Handles are made by this service, and are their own file names.
        self.0.options.logs.path_of(handle).unwrap_or_default()
    }

    /// Returns the live shape of a definition, and records that it was read: the one with this handle if it
    /// has the definition, otherwise the one that clients have to be redirected to.
    pub(crate) fn find(
        &self,
        handle: Option<&str>,
        definition: &Keyed<TableShape>,
    ) -> Result<Option<Handle>> {
        let current = match handle {
            Some(handle) => match self.reads().check_and_touch(handle, definition, Timestamp::now())? {
                Check::Live(_) => return Ok(Handle::new(handle).ok()),
                other => other.redirect(),
            },
            None => self.handle_for(definition)?,
        };
        match current {
            Some(current) if self.reads().touch_now(&current)? => Ok(Some(current)),
            _ => Ok(None),
        }
    }

    pub(crate) fn handle_for(&self, definition: &Keyed<TableShape>) -> Result<Option<Handle>> {
        Ok(self.reads().handle_for(definition.as_key())?)
    }

    /// Waits until the snapshot of a shape is complete. Returns whether the shape is still there.
    pub(crate) async fn complete(&self, handle: &Handle) -> Result<bool> {
        match self.wait_for(handle, SnapshotState::Complete.into()).await {
            Ok(()) => Ok(true),
            Err(NotReached::Removed) => Ok(false),
            Err(other) => Err(Failure::Unavailable(other.to_string())),
        }
    }

    /// Waits until a shape is removed.
    pub(crate) async fn removed(&self, handle: &Handle) {
        // After any other end of the wait, the next request of the client finds what there is.
        let _ = self.wait_for(handle, Milestone::Removed).await;
    }

    async fn wait_for(&self, handle: &Handle, milestone: Milestone) -> Result<(), NotReached> {
        match &self.0.role {
            Role::Owner(store) => store.wait_for(handle, milestone).await,
            Role::Standby(standby) => standby.wait_for(handle, milestone).await,
        }
    }

    /// Returns whether a shape has to go, and the metadata has not accepted that yet.
    pub(crate) fn is_broken(&self, handle: &Handle) -> bool {
        self.unremoved().contains(handle)
    }

    fn unremoved(&self) -> MutexGuard<'_, HashSet<Handle>> {
        self.0.unremoved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_live(&self, handle: &Handle) -> bool {
        self.reads().has_handle(handle).unwrap_or(true)
    }

    pub(crate) fn snapshot_state(&self, handle: &Handle) -> Result<Option<SnapshotState>, shape_meta::Error> {
        self.reads().snapshot_state(handle)
    }

    /// Returns the definition of a live shape. Blocks: it may be read from disk.
    pub(crate) fn definition(&self, handle: &Handle) -> Result<Option<TableShape>, BoxError> {
        let record = self.reads().record(handle)?;
        Ok(record.map(|record| record.decode()).transpose()?)
    }

    /// Returns the shapes of these tables.
    pub(crate) fn handles_for(&self, relations: &[u32]) -> Result<Vec<Handle>, shape_meta::Error> {
        let relations: Vec<_> = relations.iter().map(|oid| Relation::new(*oid)).collect();
        self.reads().handles_for_relations(&relations)
    }

    /// Returns the live shape with this definition, or adds it.
    pub(crate) async fn get_or_add(&self, definition: &Keyed<TableShape>) -> Result<GetOrAdd> {
        let store = self.store()?;
        let handle = format!("{:012x}-{}", fastrand::u64(..1 << 48), Timestamp::now().as_micros());
        let handle = Handle::new(handle).map_err(|error| Failure::Unavailable(error.to_string()))?;
        let shape = NewShape::of(handle, definition);
        let added = tokio::time::timeout(WAIT, store.get_or_add_async(&shape)).await;
        Ok(added.map_err(|_| Failure::Overloaded("too many shapes are being made".to_owned(), 1))??)
    }

    pub(crate) async fn mark_started(&self, handle: &Handle) -> Result<()> {
        self.store()?.mutate_async(&Mutation::snapshot_started(handle.as_str())).await?;
        Ok(())
    }

    /// Blocks for up to [`WAIT`] while there is no capacity.
    pub(crate) fn mark_complete(&self, handle: &Handle) -> Result<()> {
        self.store()?.mark_snapshot_complete(handle, Wait::UpTo(WAIT))?;
        Ok(())
    }

    /// Removes a shape. Until that is accepted, no request is served from it, and no checkpoint succeeds.
    pub(crate) async fn remove(&self, handle: &Handle) {
        let Some(store) = self.owner() else { return };
        let mutation = Mutation::remove(handle.as_str());
        let removed = tokio::time::timeout(WAIT, store.mutate_async(&mutation)).await;
        self.note_removal(handle, removed.is_ok_and(|outcome| is_removed(outcome.err())));
    }

    /// [`remove`](Self::remove) for a thread. Blocks for up to [`WAIT`] while there is no capacity.
    pub(crate) fn remove_blocking(&self, handle: &Handle) {
        let Some(store) = self.owner() else { return };
        self.note_removal(handle, is_removed(store.remove(handle, Wait::UpTo(WAIT)).err()));
    }

    fn note_removal(&self, handle: &Handle, is_removed: bool) {
        let mut unremoved = self.unremoved();
        if is_removed {
            unremoved.remove(handle)
        } else {
            unremoved.insert(handle.clone())
        };
    }

    /// Removes all shapes, durably.
    pub(crate) async fn reset(&self) -> Result<()> {
        let receipt = self.store()?.mutate_async(&Mutation::Reset).await?;
        receipt.durable().await.map_err(|error| Failure::Unavailable(error.to_string()))
    }

    /// Returns when everything that was accepted so far is durable, at the latest after `timeout`.
    pub(crate) async fn durable(&self, timeout: Duration) -> Result<(), String> {
        let unremoved = self.unremoved().clone();
        for handle in &unremoved {
            self.remove(handle).await;
        }
        if !self.unremoved().is_empty() {
            return Err("the removal of a shape is not accepted".to_owned());
        }
        let store = self.store().map_err(|failure| failure.to_string())?;
        let durable = tokio::time::timeout(timeout, store.request_flush().durable()).await;
        durable
            .map_err(|_| "the metadata is not durable in time".to_owned())?
            .map_err(|error| error.to_string())
    }

    /// Starts to evict the least recently read shapes above the limit. It ends when the result is dropped.
    pub(crate) fn evict(&self) -> io::Result<EvictorThread> {
        let MetadataOptions { max_shapes, min_age, .. } = self.0.options;
        let options = EvictorOptions::default().max_shapes(max_shapes).min_unread(min_age);
        let evictor = Evictor::new(options).observer(Arc::new(self.observer()));
        let thread = EvictorThread::start()?;
        if let Some(store) = self.owner() {
            thread.watch(&store, Arc::new(evictor), EVICTIONS);
        }
        Ok(thread)
    }

    /// Closes the store, so that another process can open it at once.
    pub(crate) async fn close(&self, timeout: Duration) {
        let Some(store) = self.owner() else { return };
        let report = store.close_async(timeout).await;
        tracing::info!(?report, "the metadata is closed");
    }
}

fn is_removed(error: Option<MutateError>) -> bool {
    matches!(error, None | Some(MutateError::Refused(Refusal::UnknownHandle { .. })))
}

fn builder(options: &MetadataOptions, observer: &MetricsObserver) -> Builder {
    let builder = ShapeMeta::builder(options.logs.clone())
        .observer(Arc::new(observer.clone()))
        .creation_counts_as_read(true)
        // A node whose shapes were made again by another one has logs of shapes that are gone.
        .confirm_orphans(matches!(options.database, Database::Stack(..)))
        .cached(CacheOptions::default());
    if options.is_buffered { builder.buffered(BufferOptions::default()) } else { builder }
}
