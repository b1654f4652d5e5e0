//! A directory for each shape, and the cleaner that deletes it: `cargo run --features shape --example
//! stored_data`.

use std::{fs, io, path::PathBuf, time::Duration};

use shape_meta::{
    BoxError, BufferOptions, CacheOptions, Shape, ShapeCleaner, StoredHandles, TableName, prelude::*,
};

/// The stored data of shapes: a directory for each, with a safe name.
#[derive(Clone)]
struct Directories(PathBuf);

impl Directories {
    fn of(&self, handle: &Handle) -> Result<PathBuf, BoxError> {
        Ok(self.0.join(handle.file_name()?))
    }
}

impl ShapeCleaner for Directories {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        // A volume that is not mounted is no reason to believe that the data is gone.
        fs::metadata(&self.0)?;
        for handle in handles {
            match fs::remove_dir_all(self.of(handle)?) {
                // A handle may come again: what is already gone is no error.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        let entries = fs::read_dir(&self.0)?;
        Ok(Some(Box::new(entries.filter_map(|entry| match entry {
            Ok(entry) => Handle::from_file_name(entry.file_name()).map(Ok),
            Err(error) => Some(Err(error.into())),
        }))))
    }
}

fn main() -> Result<(), BoxError> {
    let root = tempfile::tempdir()?;
    let data = Directories(root.path().join("data"));
    fs::create_dir(&data.0)?;
    let store = ShapeMeta::builder(data.clone())
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        .open(root.path().join("database"))?;

    // First the shape, then its data: the sweep for orphans spares what has a shape.
    let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510));
    let shape = NewShape::of(Handle::new("54334872-1768476874000000")?, &todos);
    let made = store.get_or_add(&shape, Wait::UpTo(Duration::from_secs(1)))?;
    let directory = data.of(&made.handle)?;
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
