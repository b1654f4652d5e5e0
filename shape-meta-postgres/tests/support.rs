//! Helpers that several tests share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use shape_meta_core::{
    Batch, Change, Error, Handle, HandleSet, NoopObserver, ReadShapes, Record, Seq, ShapeStore,
    SnapshotState, Timestamp, conformance,
};
use shape_meta_postgres::{
    DiskIndexes, Durability, OnLiveOwner, PoolOptions, PostgresOptions, PostgresPool, PostgresStore,
};

pub(crate) use shape_meta_testing_postgres::wait_until;

use crate::server;

/// A schema of its own in the shared server, which is dropped with it.
pub(crate) struct Schema {
    pub(crate) pool: PostgresPool,
    pub(crate) name: String,
    connection: String,
}

impl Schema {
    /// Returns a schema; `None` if there is no server, and the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::of(server::shared()?))
    }

    /// Returns a schema in another server.
    pub(crate) fn of(connection: &str) -> Self {
        Self { pool: pool(connection), name: unique("test"), connection: connection.to_owned() }
    }

    /// Returns the connection string of its server.
    pub(crate) fn connection(&self) -> &str {
        &self.connection
    }

    /// Options with which a second opening fences the first one.
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::default()
            .schema(&*self.name)
            .durability(Durability::ProcessCrash)
            .on_live_owner(OnLiveOwner::Fence)
    }

    /// Opens a stack.
    pub(crate) fn open(&self, stack: &str) -> PostgresStore {
        self.open_with(stack, self.options())
    }

    /// Opens a stack without look-ups, as below a cache: its small batches of adds are committed by one
    /// statement.
    pub(crate) fn open_below_cache(&self, stack: &str) -> PostgresStore {
        self.open_with(stack, self.options().disk_indexes(DiskIndexes::Omitted))
    }

    pub(crate) fn open_with(&self, stack: &str, options: PostgresOptions) -> PostgresStore {
        open(&self.pool, stack, options).expect("the store opens")
    }

    /// Executes statements as another program would. `@` stands for the schema.
    pub(crate) fn execute(&self, statements: &str) {
        execute(&self.connection, &self.qualify(statements));
    }

    /// Returns the first column of a query as text, row by row.
    pub(crate) fn query(&self, query: &str) -> Vec<String> {
        query_texts(&self.connection, &self.qualify(query))
    }

    fn qualify(&self, statements: &str) -> String {
        statements.replace('@', &format!("\"{}\".", self.name))
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ =
                try_execute(&self.connection, &format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.name));
        }
    }
}

/// Returns a name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{number}_{}", std::process::id(), Timestamp::now().as_micros())
}

pub(crate) fn pool_options(connection: &str) -> PoolOptions {
    PoolOptions::parse(connection).expect("it is valid")
}

pub(crate) fn pool(connection: &str) -> PostgresPool {
    PostgresPool::new(pool_options(connection)).expect("the thread starts")
}

pub(crate) fn open(
    pool: &PostgresPool,
    stack: &str,
    options: PostgresOptions,
) -> Result<PostgresStore, Error> {
    PostgresStore::open(pool, stack, options, Arc::new(NoopObserver))
}

/// Runs statements on a connection of their own, outside of any store.
pub(crate) fn execute(connection: &str, statements: &str) {
    try_execute(connection, statements).expect("the statements run");
}

fn try_execute(connection: &str, statements: &str) -> Result<(), tokio_postgres::Error> {
    on_connection(connection, async |client| client.batch_execute(statements).await)
}

/// Returns the first column of a query.
pub(crate) fn query_texts(connection: &str, query: &str) -> Vec<String> {
    let messages = on_connection(connection, async |client| client.simple_query(query).await);
    let messages = messages.expect("the query runs");
    let text = |message: &tokio_postgres::SimpleQueryMessage| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    };
    messages.iter().filter_map(text).collect()
}

/// Runs `work` with a client outside of any store.
pub(crate) fn on_connection<T>(
    connection: &str,
    work: impl AsyncFnOnce(&mut tokio_postgres::Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, tokio_postgres::Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().expect("it starts");
    runtime.block_on(async {
        let (mut client, driver) = tokio_postgres::connect(connection, tokio_postgres::NoTls).await?;
        let driver = tokio::spawn(driver);
        let outcome = work(&mut client).await;
        drop(client);
        let _ = driver.await;
        outcome
    })
}

/// Returns shape `number`, whose add has the sequence number `number`.
pub(crate) fn record(number: u64) -> Arc<Record> {
    Arc::new(conformance::shape(number).record(Seq::new(number)))
}

pub(crate) fn add(number: u64, state: SnapshotState) -> Change {
    Change::Add { record: record(number), state }
}

pub(crate) fn remove(number: u64) -> Change {
    Change::Remove { entry: Arc::clone(&record(number).entry) }
}

pub(crate) fn mark(number: u64, state: SnapshotState) -> Change {
    Change::Mark { entry: Arc::clone(&record(number).entry), state }
}

pub(crate) fn batch(through: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { changes: changes.into_iter().collect(), through: Seq::new(through) }
}

/// Applies these changes in one batch.
pub(crate) fn apply(store: &PostgresStore, through: u64, changes: impl IntoIterator<Item = Change>) {
    store.apply(&batch(through, changes)).expect("the batch applies");
}

/// Adds complete shapes with these numbers in one batch.
pub(crate) fn fill(store: &PostgresStore, numbers: std::ops::RangeInclusive<u64>) {
    let through = *numbers.end();
    apply(store, through, numbers.map(|number| add(number, SnapshotState::Complete)));
}

/// Returns the sequence numbers of all live shapes, in the order of a scan.
pub(crate) fn live(store: &impl ReadShapes) -> Vec<u64> {
    let scan = store.scan().expect("the scan opens");
    scan.map(|item| item.expect("reads").metadata.created.get()).collect()
}

pub(crate) fn least_recently_used(store: &PostgresStore, n: usize) -> Vec<(Handle, u64)> {
    let found = store.least_recently_used(n, &HandleSet::new()).expect("reads");
    found.shapes.into_iter().map(|(handle, at)| (handle, at.as_micros())).collect()
}

/// Returns the handles of all cleanup tasks.
pub(crate) fn tasks(store: &PostgresStore) -> Vec<Handle> {
    let tasks = store.cleanup_tasks(None, usize::MAX).expect("reads");
    tasks.iter().map(|task| task.handle().clone()).collect()
}
