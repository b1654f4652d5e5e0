//! A store for each tenant, with shared threads and connections:
//! `cargo run --features shape --example tenants`.

use std::{collections::HashMap, error::Error, path::Path, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, ConnectionLimit, FlusherOptions, FlusherPool, NoopCleaner, Shape,
    SqliteOptions, TableName, prelude::*,
};

/// The stores of all tenants, and what they share.
struct Tenants<'a> {
    directory: &'a Path,
    flushers: FlusherPool,
    connections: ConnectionLimit,
    stores: HashMap<String, ShapeMeta>,
}

impl Tenants<'_> {
    /// Returns the store of a tenant, and opens it on first use.
    fn store(&mut self, tenant: &str) -> shape_meta::Result<ShapeMeta> {
        if let Some(store) = self.stores.get(tenant) {
            return Ok(store.clone());
        }
        let store = ShapeMeta::builder(NoopCleaner)
            .sqlite(SqliteOptions::default().connection_limit(&self.connections))
            .cached(CacheOptions::default())
            // The bound is per store, so memory is at most the sum over all tenants.
            .buffered(BufferOptions::default().flushers(&self.flushers).max_pending_shapes(10_000))
            .open(self.directory.join(tenant))?;
        self.stores.insert(tenant.to_owned(), store.clone());
        Ok(store)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut tenants = Tenants {
        directory: directory.path(),
        flushers: FlusherPool::new(FlusherOptions::default()),
        connections: ConnectionLimit::new(64),
        stores: HashMap::new(),
    };

    let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510));
    for number in 0..100 {
        let store = tenants.store(&format!("tenant-{number}"))?;
        // Tenants share nothing but threads and connections: the same handle is free in each store.
        store.add(NewShape::of(Handle::new("todos-1")?, &todos), Wait::No)?;
    }
    for store in tenants.stores.values() {
        store.flush(Duration::from_secs(10))?;
    }

    // For gauges: `behind` above a few seconds, or `slow` near the thread limit, means that disks hang.
    let stats = tenants.flushers.stats();
    println!(
        "{} stores, {} threads, {} slow, behind {:?}",
        stats.stores, stats.threads, stats.slow, stats.behind
    );

    for (tenant, store) in tenants.stores.drain() {
        if !store.close(Duration::from_secs(10)).is_complete() {
            println!("{tenant}: some changes were not written");
        }
    }
    Ok(())
}
