//! One shape from creation to durability: `cargo run --features shape --example basic`.

use std::{error::Error, time::Duration};

use shape_meta::{BufferOptions, CacheOptions, NoopCleaner, Shape, TableName, prelude::*};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let open = || {
        // In production, pass your `ShapeCleaner`: see the example `stored_data`.
        ShapeMeta::builder(NoopCleaner)
            .cached(CacheOptions::default())
            .buffered(BufferOptions::default())
            .open(directory.path())
    };
    let store = open()?;

    // A request: look the definition up, and create the shape if it does not exist. `get_or_add` does both in
    // one step, so concurrent requests for one definition share one shape (C2).
    let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510)).filter("done = false");
    let shape = NewShape::of(Handle::new("54334872-1768476874000000")?, &todos);
    let made = store.get_or_add(&shape, Wait::UpTo(Duration::from_secs(1)))?;
    println!("handle {}, created by this call: {}", made.handle, made.added);

    // The engine makes the snapshot, and records how far it is.
    store.mark_snapshot_started(&made.handle, Wait::No)?;
    store.mark_snapshot_complete(&made.handle, Wait::No)?;

    // Later requests: from memory, without a lock.
    assert!(store.validate_handle(&made.handle, todos.definition_hash())?);
    assert_eq!(store.handle_for(&todos.key())?, Some(made.handle.clone()));
    // A change of the table: which shapes read it?
    assert_eq!(store.handles_for_relations(&[Relation::new(16510)])?, std::slice::from_ref(&made.handle));

    // The mutations are visible but perhaps not durable yet. A receipt waits for its own mutation.
    made.receipt.wait_durable(Duration::from_secs(10))?;
    let report = store.close(Duration::from_secs(10));
    println!("closed in {:?}; everything is on disk: {}", report.took, report.is_complete());
    drop(store);

    // After a restart the shape is there. Shapes without a complete snapshot would have been removed.
    let store = open()?;
    let record = store.record(&made.handle)?.ok_or("the shape is lost")?;
    println!("after reopening: {:?}", record.decode::<Shape>()?.filter);
    Ok(())
}
