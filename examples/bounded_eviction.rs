//! Keeping the number of shapes below a limit by evicting the least recently used ones:
//! `cargo run --features shape --example bounded_eviction`.

use std::{error::Error, sync::Arc, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, Evictor, EvictorOptions, EvictorThread, NoopCleaner, Shape, TableName,
    prelude::*,
};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = ShapeMeta::builder(NoopCleaner)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        // Otherwise a shape that no client ever reads would stay.
        .creation_counts_as_read(true)
        .open(directory.path())?;

    // 150 shapes, each read one second after the one before. The first was read 150 seconds ago.
    let now = Timestamp::now();
    for number in 0..150_u64 {
        let definition =
            Shape::new(TableName::new("public", format!("table_{number}")), Relation::new(16510));
        let shape = NewShape {
            created_at: Some(Timestamp::from_micros(now.as_micros() - (150 - number) * 1_000_000)),
            ..NewShape::of(Handle::new(format!("shape-{number}"))?, &definition)
        };
        store.add(shape, Wait::UpTo(Duration::from_secs(1)))?;
    }

    // At most 100 shapes stay, and those that were read in the last ten seconds in any case.
    let options =
        EvictorOptions::default().max_shapes(100).low_water(100).min_unread(Duration::from_secs(10));
    let evictor = Arc::new(Evictor::new(options));
    // A shape with connected clients is in use, however long ago its last read was.
    evictor.pin(Handle::new("shape-0")?);
    let eviction = evictor.step(&store);
    println!("evicted {} shapes, which were not read for {:?} or longer", eviction.removed.len(), {
        eviction.stats.newest_unread
    });
    assert_eq!(store.counts()?.total, 100);
    assert!(store.has_handle("shape-0")?);

    // From now on, one thread does so for this store, and for any others of the process.
    let thread = EvictorThread::start()?;
    thread.watch(&store, evictor, Duration::from_secs(1));
    Ok(())
}
