//! A rolling deploy in one process: `cargo run --features shape --example standby`.

use std::{error::Error, thread, time::Duration};

use shape_meta::{
    BufferOptions, Builder, CacheOptions, NoopCleaner, OnLiveOwner, Shape, TableName, prelude::*,
};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;

    // The old process owns the database.
    let old = builder().open(directory.path())?;
    let first = add(&old, "first", 16510)?;

    // The new process starts while the old one is alive. It serves reads, and shows what the old one has
    // committed.
    let standby = builder().open_standby(directory.path())?;
    let second = add(&old, "second", 16511)?;
    let report = standby.refresh()?; // in a server: every second or so
    println!("a refresh showed {} new shape(s) in {:?}", report.added, report.took);
    assert!(standby.has_handle(&first)? && standby.has_handle(&second)?);

    // The old process closes its store and drops it. The new one waits for that.
    let reader = standby.clone();
    let store = thread::scope(|scope| {
        scope.spawn(move || {
            old.close(Duration::from_secs(10));
            drop(old);
        });
        standby.promote(OnLiveOwner::Wait(Duration::from_secs(30)))
    })?;

    // The new process is the owner. Readers that hold a clone of the standby read through the new owner.
    let third = add(&store, "third", 16512)?;
    assert!(reader.has_handle(&third)?);
    println!("promoted; {} shapes are live", store.counts()?.total);
    Ok(())
}

fn builder() -> Builder {
    ShapeMeta::builder(NoopCleaner).cached(CacheOptions::default()).buffered(BufferOptions::default())
}

/// Adds a shape with a complete snapshot, and waits until it is durable: only then does a standby see it.
fn add(store: &ShapeMeta, table: &str, oid: u32) -> Result<Handle, Box<dyn Error>> {
    let definition = Shape::new(TableName::new("public", table), Relation::new(oid));
    let made = store.get_or_add(&NewShape::of(Handle::new(table)?, &definition), Wait::No)?;
    let receipt = store.mark_snapshot_complete(&made.handle, Wait::No)?;
    receipt.wait_durable(Duration::from_secs(10))?;
    Ok(made.handle)
}
