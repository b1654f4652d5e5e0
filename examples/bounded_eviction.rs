//! Keeping the number of shapes below a limit by evicting the least recently used ones:
//! `cargo run --features shape --example bounded_eviction`.

use std::{error::Error, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, HandleSet, MutateError, NoopCleaner, Refusal, Shape, TableName, prelude::*,
};

/// At most this many shapes stay.
const LIMIT: u64 = 100;
/// A shape that was read more recently is never evicted: its clients would have to make it again at once.
const MIN_AGE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = ShapeMeta::builder(NoopCleaner)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        .open(directory.path())?;

    // 150 shapes, each read one second after the one before. The first was read 150 seconds ago.
    let now = Timestamp::now();
    for number in 0..150_u64 {
        let definition =
            Shape::new(TableName::new("public", format!("table_{number}")), Relation::new(16510));
        let shape = NewShape::of(Handle::new(format!("shape-{number}"))?, &definition);
        store.add(shape, Wait::UpTo(Duration::from_secs(1)))?;
        store.touch(
            &format!("shape-{number}"),
            Timestamp::from_micros(now.as_micros() - (150 - number) * 1_000_000),
        )?;
    }

    // Shapes with connected clients are in use, however long ago their last read was.
    let in_use: HandleSet = [Handle::new("shape-0")?].into();
    let evicted = evict(&store, &in_use, now)?;
    println!("evicted {} shapes, from {} to {}", evicted.len(), evicted[0], evicted[evicted.len() - 1]);
    assert_eq!(store.counts()?.total, LIMIT);
    assert!(store.has_handle("shape-0")?);
    Ok(())
}

/// Removes the least recently used shapes above the limit, and returns their handles. The caller then deletes
/// their stored data.
fn evict(store: &ShapeMeta, in_use: &HandleSet, now: Timestamp) -> Result<Vec<Handle>, Box<dyn Error>> {
    let excess = store.counts()?.total.saturating_sub(LIMIT);
    let candidates = store.least_recently_used(usize::try_from(excess)?, in_use)?;
    let mut evicted = Vec::new();
    for (handle, last_read) in candidates.shapes {
        if last_read.age_at(now) < MIN_AGE {
            break; // sorted by last read: all that follow are younger
        }
        match store.remove(&handle, Wait::UpTo(Duration::from_secs(1))) {
            Ok(_) => evicted.push(handle),
            // Another thread removed it in between.
            Err(MutateError::Refused(Refusal::UnknownHandle { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(evicted)
}
