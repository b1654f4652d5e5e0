//! A store for each tenant, with shared threads and connections: from standby to owner to closed.

use std::{
    collections::BTreeMap,
    error::Error,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shape_meta::{
    BlockingOptions, BlockingPool, BufferOptions, CacheOptions, ConnectionLimit, Evictor, EvictorOptions,
    EvictorThread, FlusherOptions, FlusherPool, MetricsObserver, OnLiveOwner, Reporter, SqliteOptions,
    Standby, prelude::*,
};
use tokio::task::JoinSet;

use crate::storage::Storage;

/// How often a standby is refreshed, and shapes are evicted.
const INTERVAL: Duration = Duration::from_millis(200);
/// Longer than an old process takes to end.
const OLD_PROCESS: Duration = Duration::from_secs(86_400);

/// A tenant.
pub struct Tenant {
    pub storage: Storage,
    access: Access,
    snapshots: Mutex<JoinSet<()>>,
}

enum Access {
    /// Another process owned the database. After the promotion it reads and writes through the store.
    Standby(Standby),
    Owner(ShapeMeta),
}

impl Tenant {
    /// Returns the store; `None` while another process owns the database.
    pub fn store(&self) -> Option<ShapeMeta> {
        match &self.access {
            Access::Standby(standby) => standby.store(),
            Access::Owner(store) => Some(store.clone()),
        }
    }

    /// Returns what serves reads.
    pub fn reads(&self) -> &dyn ReadShapes {
        match &self.access {
            Access::Standby(standby) => standby,
            Access::Owner(store) => store,
        }
    }

    /// Makes a snapshot in the background, whether or not its client goes away.
    pub fn spawn(&self, snapshot: impl Future<Output = ()> + Send + 'static) {
        let mut snapshots = self.snapshots();
        // Forgets those that have ended.
        while snapshots.try_join_next().is_some() {}
        snapshots.spawn(snapshot);
    }

    fn snapshots(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes the owner as soon as the old process ends. Then its shapes are evicted above the limit.
    pub async fn run(&self, evictors: &EvictorThread, max_shapes: u64) {
        let mut due = tokio::time::interval(INTERVAL);
        while let (Access::Standby(standby), None) = (&self.access, self.store()) {
            tokio::select! {
                // Dropped with this task, when the process has to end: then it stops waiting.
                promoted = standby.promote_async(OnLiveOwner::Wait(OLD_PROCESS)) => {
                    let _ = promoted.inspect_err(|error| eprintln!("not promoted: {error}"));
                    due.tick().await;
                }
                () = refresh(standby) => {}
            }
        }
        let Some(store) = self.store() else { return };
        let options = EvictorOptions::default().max_shapes(max_shapes);
        evictors.watch(&store, Arc::new(Evictor::new(options)), INTERVAL);
    }
}

async fn refresh(standby: &Standby) {
    let mut due = tokio::time::interval(INTERVAL);
    loop {
        due.tick().await;
        let _ = standby.refresh_async().await.inspect_err(|error| eprintln!("not refreshed: {error}"));
    }
}

/// All tenants of this process.
pub struct Tenants {
    pub by_name: BTreeMap<String, Arc<Tenant>>,
    pub reporter: Reporter,
}

impl Tenants {
    /// Opens the databases `tenant-0`, `tenant-1`, ..., as a standby where there is one.
    pub async fn open(directory: &Path, count: usize) -> Result<Self, Box<dyn Error>> {
        let flushers = FlusherPool::new(FlusherOptions::default());
        let (connections, calls) = (ConnectionLimit::new(64), BlockingPool::new(BlockingOptions::default()));
        let (reporter, mut by_name) = (Reporter::default(), BTreeMap::new());
        for name in (0..count).map(|number| format!("tenant-{number}")) {
            let storage = Storage::create(&directory.join("data").join(&name))?;
            let path = directory.join("meta").join(&name);
            let observer = MetricsObserver::new();
            let builder = || {
                ShapeMeta::builder(storage.0.clone())
                    .observer(Arc::new(observer.clone()))
                    .sqlite(SqliteOptions::default().connection_limit(&connections))
                    .cached(CacheOptions::default())
                    .buffered(BufferOptions::default().flushers(&flushers).max_pending_shapes(10_000))
                    .blocking_pool(&calls)
            };
            let access = match builder().open_standby_async(&path).await {
                Ok(standby) => Access::Standby(standby),
                // There is no database: this process is the first one.
                Err(_) => Access::Owner(builder().open_async(&path).await?),
            };
            let tenant = Arc::new(Tenant { storage, access, snapshots: Mutex::default() });
            let watched = Arc::downgrade(&tenant);
            reporter.watch(observer, move || watched.upgrade()?.store());
            by_name.insert(name, tenant);
        }
        Ok(Self { by_name, reporter })
    }

    /// Closes all stores, which releases their databases for the next process.
    pub async fn close(&self, timeout: Duration) {
        for (name, tenant) in &self.by_name {
            // The next owner deletes what is not complete, and nothing may be written after that.
            let snapshots = std::mem::take(&mut *tenant.snapshots());
            snapshots.join_all().await;
            let Some(store) = tenant.store() else { continue };
            let report = store.close_async(timeout).await;
            if !report.is_complete() {
                eprintln!("{name}: {} mutations were not written: {:?}", report.unwritten, report.error);
            }
        }
    }
}
