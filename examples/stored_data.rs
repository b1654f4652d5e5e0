//! A directory for each shape, and the cleaner that deletes it: `cargo run --features shape --example
//! stored_data`.

use std::{fs, time::Duration};

use shape_meta::{BoxError, BufferOptions, CacheOptions, DirectoryCleaner, Shape, TableName, prelude::*};

fn main() -> Result<(), BoxError> {
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join("data"))?;
    let data = DirectoryCleaner::new(root.path().join("data"))?;
    let store = ShapeMeta::builder(data.clone())
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        .open(root.path().join("database"))?;

    // First the shape, then its data: the sweep for orphans spares what has a shape.
    let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510));
    let shape = NewShape::of(Handle::new("54334872-1768476874000000")?, &todos);
    let made = store.get_or_add(&shape, Wait::UpTo(Duration::from_secs(1)))?;
    let directory = data.path_of(&made.handle)?;
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("snapshot"), b"[]")?;
    store.mark_snapshot_complete(&made.handle, Wait::No)?;

    // Only the shape is removed here. Its data goes once the removal is durable, in the background.
    store.remove(&made.handle, Wait::No)?;
    assert!(directory.exists());
    store.flush(Duration::from_secs(10))?;
    while store.clean_once()? {}
    println!("the data is gone: {}, tasks left: {}", !directory.exists(), store.cleanup_status().tasks);

    // Each open looks for data without a shape, as a crash leaves it. A database that may be the wrong one
    // (new, restored, repaired) reports it and waits for `confirm_orphans`.
    if let Some(sweep) = store.cleanup_status().sweep.filter(|sweep| sweep.waits_for_confirmation) {
        println!("{} orphans, among them {:?}", sweep.orphans, sweep.sample);
    }
    Ok(())
}
