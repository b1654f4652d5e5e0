use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use shape_meta::{
    Builder, PoolOptions, PostgresOptions, PostgresPool, ShapeMeta, Standby, Timestamp, postgres::Durability,
};
use shape_meta_testing_postgres as server;

/// Long enough for a busy machine, and short enough for a test.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// The address of each pool of another process.
pub(crate) const ADDRESS: &str = "10.0.0.7:3000";

/// A schema of its own, with stacks of the test.
pub(crate) struct Schema {
    pub(crate) pool: PostgresPool,
    name: String,
    connection: String,
}

impl Schema {
    /// Returns a schema in the shared server; `None` if there is no server, and the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::of(server::shared()?))
    }

    /// Returns a schema in this server.
    pub(crate) fn of(connection: &str) -> Self {
        Self::named(connection, unique("test"))
    }

    /// Returns the schema of another process.
    pub(crate) fn named(connection: &str, name: String) -> Self {
        let pool = PostgresPool::new(pool_options(connection)).expect("the thread starts");
        Self { pool, name, connection: connection.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn connection(&self) -> &str {
        &self.connection
    }

    /// Returns a pool as another process has it.
    pub(crate) fn another_pool(&self) -> PostgresPool {
        let options = pool_options(&self.connection).lease(LEASE).address(ADDRESS);
        PostgresPool::new(options).expect("the thread starts")
    }

    pub(crate) fn unique_stack(&self) -> String {
        unique("stack")
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::default().schema(&*self.name).durability(Durability::ProcessCrash)
    }

    /// Opens a stack.
    pub(crate) fn open(&self, builder: Builder, stack: &str) -> ShapeMeta {
        builder.postgres(self.options()).open_postgres(&self.pool, stack).expect("the stack opens")
    }

    /// Opens a stack as a standby of this process.
    pub(crate) fn standby(&self, builder: Builder, stack: &str) -> Standby {
        self.standby_on(&self.pool, builder, stack)
    }

    /// Opens a stack as a standby of the process with this pool.
    pub(crate) fn standby_on(&self, pool: &PostgresPool, builder: Builder, stack: &str) -> Standby {
        let opened = builder.postgres(self.options()).open_postgres_standby(pool, stack);
        opened.expect("there is a stack")
    }
}

fn pool_options(connection: &str) -> PoolOptions {
    PoolOptions::parse(connection).expect("it is valid")
}

/// Returns a name that no other test has.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{number}_{}", process::id(), Timestamp::now().as_micros())
}
