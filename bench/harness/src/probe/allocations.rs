//! Counts the allocations of operations, and the heap size of shapes.

use std::{collections::BTreeMap, env, path::PathBuf, process::ExitCode, time::Duration};

use shape_meta::{Mutation, SqliteOptions, prelude::*};
use stats_alloc::{Region, StatsAlloc};

use crate::{candidate::FULL_STACK, data::sample, error::Result};

/// The whole program of `shape-meta-bench-allocations DIR SHAPES`, which has this allocator. Prints counts as
/// JSON.
pub fn main(allocator: &StatsAlloc<std::alloc::System>) -> ExitCode {
    match count(allocator) {
        Ok(counts) => {
            println!("{counts}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("allocations: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count(allocator: &StatsAlloc<std::alloc::System>) -> Result<String> {
    let mut arguments = env::args_os().skip(1);
    let directory: PathBuf = arguments.next().ok_or("a directory is missing")?.into();
    let shapes =
        arguments.next().and_then(|number| number.into_string().ok()).ok_or("a number is missing")?;
    let shapes: u64 = shapes.parse()?;
    let mut counts = BTreeMap::new();

    let store = FULL_STACK.open_with(&directory, shapes, SqliteOptions::default())?;
    // The flusher would allocate as well.
    store.pause();
    let mutations: Vec<_> = (0..shapes).map(|number| Mutation::Add(sample::shape(number))).collect();
    let mut count_each = |what: &str, operation: &mut dyn FnMut(u64) -> Result| {
        let region = Region::new(allocator);
        (0..shapes).try_for_each(operation)?;
        let change = region.change();
        let each = |count: usize| count as f64 / shapes as f64;
        let times = change.allocations + change.reallocations;
        counts.insert(format!("allocations for {what}|times"), each(times));
        counts.insert(format!("allocated for {what}|bytes"), each(change.bytes_allocated));
        Ok::<_, crate::error::BoxError>(())
    };
    count_each("an add", &mut |number| Ok(store.try_mutate(&mutations[number as usize]).map(drop)?))?;
    drop(mutations);
    store.resume();
    for number in 0..shapes {
        store.mark_snapshot_complete(&sample::handle(number), Wait::UpTo(Duration::from_secs(60)))?;
    }
    store.flush(Duration::from_secs(600))?;
    let (handle, key) = (sample::handle(7), sample::key(7));
    count_each("metadata by handle", &mut |_| found(store.metadata(&handle)?.is_some()))?;
    count_each("a handle by key", &mut |_| found(store.handle_for(&key)?.is_some()))?;
    count_each("recording a last read", &mut |_| found(store.touch_now(&handle)?))?;
    count_each("a definition by handle", &mut |_| found(store.record(&handle)?.is_some()))?;
    if !store.close(Duration::from_secs(600)).is_complete() {
        return Err("a mutation was not written".into());
    }
    drop(store);

    let region = Region::new(allocator);
    let store = FULL_STACK.open_with(&directory, 0, SqliteOptions::default())?;
    let change = region.change();
    let live = change.bytes_allocated.saturating_sub(change.bytes_deallocated) as f64;
    counts.insert("heap per shape after boot|bytes".into(), live / shapes as f64);
    drop(store);
    Ok(serde_json::to_string(&counts)?)
}

fn found(found: bool) -> Result {
    if found { Ok(()) } else { Err("a live shape was not found".into()) }
}
