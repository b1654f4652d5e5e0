use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use shape_meta::{
    Builder, PoolOptions, PostgresOptions, PostgresPool, ShapeMeta, Timestamp, postgres::Durability,
};
use shape_meta_testing_postgres as server;

/// A schema of its own, with stacks of the test.
pub(crate) struct Schema {
    pub(crate) pool: PostgresPool,
    pub(crate) name: String,
    connection: String,
}

impl Schema {
    /// Returns a schema in the shared server; `None` if there is no server, and the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::of(server::shared()?))
    }

    /// Returns a schema in this server.
    pub(crate) fn of(connection: &str) -> Self {
        let pool = PostgresPool::new(pool_options(connection)).expect("the thread starts");
        Self { pool, name: unique("test"), connection: connection.to_owned() }
    }

    /// Returns a pool as another process has it.
    pub(crate) fn another_pool(&self) -> PostgresPool {
        PostgresPool::new(pool_options(&self.connection)).expect("the thread starts")
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
}

pub(crate) fn pool_options(connection: &str) -> PoolOptions {
    PoolOptions::parse(connection).expect("it is valid")
}

/// Returns a name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{number}_{}", process::id(), Timestamp::now().as_micros())
}
