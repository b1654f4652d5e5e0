//! The connections that stores share.
//!
//! The pool is our own: a semaphore and a list. A library's pool would have to be extended by all that makes
//! it ours, namely prepared statements by schema, transactions that are left open, verification by each
//! store, the limit on scans, and closing what is idle.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::PoolOptions,
    connection::{client::Client, runtime::Runtime, session},
    error,
    lease::Members,
    notify::Listeners,
};

/// Connections to one database, and the thread on which they live. Any number of stores share it: a handle
/// is cheap to clone.
///
/// Connections are opened when they are needed, and closed when they are idle. The thread ends when the last
/// handle and the last store are dropped.
#[derive(Clone)]
pub struct PostgresPool(Arc<Inner>);

struct Inner {
    // Dropped first: its end closes the connections.
    runtime: Runtime,
    connections: Arc<Connections>,
    members: Members,
    listeners: Listeners,
}

impl PostgresPool {
    /// Creates a pool. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// `Configuration` if an option is invalid, and `Io` if the thread cannot be started.
    pub fn new(options: PoolOptions) -> Result<Self> {
        options.validate()?;
        let (open, closed) = flume::bounded(0);
        let connections = Arc::new(Connections {
            permits: Arc::new(Semaphore::new(options.max_connections)),
            scans: Arc::new(Semaphore::new(options.max_connections - 1)),
            idle: Mutex::default(),
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            settings: session::settings(&options),
            options,
            open,
        });
        let runtime = Runtime::start(Arc::clone(&connections), closed)?;
        Ok(Self(Arc::new(Inner {
            runtime,
            connections,
            members: Members::default(),
            listeners: Listeners::default(),
        })))
    }

    /// Returns the database and the hosts, for messages.
    pub fn place(&self) -> String {
        error::place(&self.0.connections.options.config)
    }

    /// Returns the number of connections in use, of idle ones, and of operations that wait for one.
    pub fn usage(&self) -> shape_meta_core::Connections {
        let connections = &self.0.connections;
        shape_meta_core::Connections {
            used: connections.used.load(Ordering::Relaxed),
            idle: connections.idle().len(),
            max: connections.options.max_connections,
            waiting: connections.waiting.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.0.connections
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.0.listeners
    }

    pub(crate) fn members(&self) -> &Members {
        &self.0.members
    }
}

impl fmt::Debug for PostgresPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresPool").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// What a connection is checked out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An operation that ends by itself.
    Operation,
    /// A scan, which its user may leave open.
    Scan,
}

/// The shared part of a pool, on the thread of the connections.
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    /// One less than `permits`, so that a write finds a connection while scans are open.
    scans: Arc<Semaphore>,
    /// The connection that was used last is on top, so that the others become idle.
    idle: Mutex<Vec<(Client, Instant)>>,
    used: AtomicUsize,
    waiting: AtomicUsize,
    options: PoolOptions,
    settings: String,
    /// Held by the task of each connection.
    open: flume::Sender<()>,
}

impl Connections {
    /// Waits for a connection, and opens one if none is idle.
    ///
    /// # Errors
    ///
    /// `Busy` after the checkout time-out, and the failure to connect.
    pub(crate) async fn checkout(self: &Arc<Self>, purpose: Purpose) -> Result<Pooled> {
        if purpose == Purpose::Operation {
            return self.acquire(None).await;
        }
        let waiting = Waiting::add(&self.waiting);
        let scan = Arc::clone(&self.scans).acquire_owned();
        let scan = tokio::time::timeout(self.options.checkout_timeout, scan).await;
        drop(waiting);
        match scan {
            Ok(Ok(scan)) => self.acquire(Some(scan)).await,
            _ => Err(self.all_in_use("open scans hold all but one of")),
        }
    }

    async fn acquire(self: &Arc<Self>, scan: Option<OwnedSemaphorePermit>) -> Result<Pooled> {
        let waiting = Waiting::add(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(self.options.checkout_timeout, permit).await;
        drop(waiting);
        let Ok(Ok(permit)) = permit else { return Err(self.all_in_use("others use all of")) };
        // Counts from here on, also if the connection cannot be opened.
        let mut pooled = Pooled::new(Arc::clone(self), permit, scan);
        pooled.client = Some(match self.take_idle() {
            Some(client) => {
                pooled.is_reused = true;
                client
            }
            None => self.open().await?,
        });
        Ok(pooled)
    }

    pub(crate) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Opens a connection that does not count in the limit, for a task of the pool itself. A statement may
    /// take this long.
    pub(crate) async fn open_for(&self, statement_timeout: Duration) -> Result<Client> {
        let timeout = statement_timeout.min(self.options.statement_timeout);
        let mut client = self.connect(timeout).await?;
        let settings = session::timeouts(timeout);
        client.execute_all("set up a connection", &settings).await?;
        Ok(client)
    }

    async fn open(&self) -> Result<Client> {
        self.connect(self.options.statement_timeout).await
    }

    async fn connect(&self, statement_timeout: Duration) -> Result<Client> {
        let PoolOptions { config, encryption, .. } = &self.options;
        // The library's time-out covers the dialogue of each host, but not the resolution of its name.
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1) as u32;
        let limit = config.get_connect_timeout().copied().unwrap_or_default().saturating_mul(hosts);
        let opened = tokio::time::timeout(limit + Duration::from_secs(1), encryption.connect(config)).await;
        let opened = opened.unwrap_or_else(|_| Err(error::no_answer("connect")))?;
        let mut client = Client::start(opened, self.open.clone(), statement_timeout);
        client.execute_all("set up a connection", &self.settings).await?;
        Ok(client)
    }

    fn take_idle(&self) -> Option<Client> {
        let mut idle = self.idle();
        while let Some((client, _)) = idle.pop() {
            if client.is_reusable() {
                return Some(client);
            }
        }
        None
    }

    fn all_in_use(&self, who: &str) -> Error {
        Error::new(
            ErrorKind::Busy,
            format!(
                "no connection became free in {:?}: {who} the {} connections; nothing has changed, and it can be tried \
                 again. Raise `max_connections`, or close scans sooner",
                self.options.checkout_timeout, self.options.max_connections
            ),
        )
    }

    /// Returns when the first idle connection is to be closed.
    pub(crate) fn next_expiry(&self) -> Instant {
        let oldest = self.idle().first().map(|(_, since)| *since);
        oldest.unwrap_or_else(Instant::now) + self.options.idle_timeout
    }

    /// Closes the connections that were idle for long enough, and those that the server has closed.
    pub(crate) fn close_expired(&self) {
        let now = Instant::now();
        self.idle().retain(|(client, since)| {
            client.is_reusable() && now.saturating_duration_since(*since) < self.options.idle_timeout
        });
    }

    pub(crate) fn close_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Client, Instant)>> {
        // No code that can panic runs under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one waiting operation until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn add(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use by one operation. When it is dropped, the pool has it back, or closes it if it must
/// not be used again.
pub(crate) struct Pooled {
    client: Option<Client>,
    /// Whether it was idle before: the server may have closed it since.
    is_reused: bool,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
    _scan: Option<OwnedSemaphorePermit>,
}

impl Pooled {
    fn new(
        connections: Arc<Connections>,
        permit: OwnedSemaphorePermit,
        scan: Option<OwnedSemaphorePermit>,
    ) -> Self {
        connections.used.fetch_add(1, Ordering::Relaxed);
        Self { client: None, is_reused: false, connections, _permit: permit, _scan: scan }
    }

    /// Returns the connection.
    ///
    /// # Errors
    ///
    /// Never, for a pooled that was handed out.
    pub(crate) fn client(&mut self) -> Result<&mut Client> {
        self.client.as_mut().ok_or_else(Error::closed)
    }

    /// Whether the server closed the connection while it was idle, so that another one may do.
    pub(crate) fn was_lost_while_idle(&self) -> bool {
        self.is_reused && self.client.as_ref().is_some_and(Client::is_lost)
    }

    /// Returns the number of connections in use, including this one.
    pub(crate) fn active(&self) -> usize {
        self.connections.used.load(Ordering::Relaxed)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.connections.used.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client.take().filter(Client::is_reusable) {
            self.connections.idle().push((client, Instant::now()));
        }
    }
}
