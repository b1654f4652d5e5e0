use std::{
    io::{BufRead, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Error, MutateError, MutateShapesExt, NoopObserver, ReadShapes, SnapshotState, StoreControl, Wait,
};
use shape_meta_sqlite::{DiskIndexes, OnCorruption, SqliteOptions, SqliteStore};

use super::Outcome;
use crate::{
    args::Database,
    exit::{Failure, Success},
    json::ShapeJson,
    output,
};

/// Limit on a wait for a slow disk: for capacity in the buffer, and for the last flush.
const TIMEOUT: Duration = Duration::from_secs(600);

type Store = Buffered<Cached<SqliteStore>>;

pub(super) fn run(database: &Database, file: Option<&Path>, out: &mut dyn Write) -> Outcome {
    let input = super::input(file)?;
    let store = open(&database.directory)?;
    let (mut added, mut skipped) = (0_u64, 0_u64);
    for (number, line) in (1_u64..).zip(input.lines()) {
        let line = line.map_err(Failure::io("read the input"))?;
        if line.trim().is_empty() {
            continue;
        }
        let shape = serde_json::from_str::<ShapeJson>(&line).map_err(|error| error.to_string());
        let shape = shape.and_then(ShapeJson::into_parts);
        match shape.map(|shape| add(&store, shape)) {
            Ok(Ok(())) => added += 1,
            Ok(Err(MutateError::Failed(error))) => return Err(error.into()),
            Ok(Err(MutateError::Refused(refusal))) => {
                skipped += 1;
                eprintln!("shape-meta: line {number} skipped: {refusal}");
            }
            Err(message) => {
                skipped += 1;
                eprintln!("shape-meta: line {number} skipped: {message}");
            }
        }
    }
    let report = store.close(TIMEOUT);
    if !report.is_complete() {
        let unwritten = report.unwritten;
        let message = format!(
            "{unwritten} changes were not written to disk; the other shapes are added. Run the import again: it \
             skips shapes that exist"
        );
        return Err(report
            .error
            .unwrap_or_else(|| Error::new(shape_meta_core::ErrorKind::Io, message))
            .into());
    }
    if database.json {
        output::json(out, &json!({"added": added, "skipped": skipped}))?;
    } else {
        writeln!(out, "{added} shapes added, {skipped} lines skipped")?;
    }
    Ok(if skipped == 0 { Success::Clean } else { Success::Findings })
}

/// Opens the store without a recovery. The next owner removes incomplete shapes, since only an owner has a
/// cleaner.
fn open(directory: &Path) -> Result<Store, Failure> {
    let options = SqliteOptions::default()
        .disk_indexes(DiskIndexes::Omitted)
        .last_reads(false)
        .on_corruption(OnCorruption::Refuse);
    let store = SqliteStore::open(directory, options, Arc::new(NoopObserver))?;
    let cached = Cached::open(store, CacheOptions::default(), Arc::new(NoopObserver))?;
    Ok(Buffered::new(cached, BufferOptions::default(), Arc::new(NoopObserver))?)
}

fn add(
    store: &Store,
    (shape, state, last_read): (shape_meta_core::NewShape, SnapshotState, Option<shape_meta_core::Timestamp>),
) -> Result<(), MutateError> {
    let handle = shape.handle.clone();
    let wait = Wait::UpTo(TIMEOUT);
    store.add(shape, wait)?;
    match state {
        SnapshotState::Pending => {}
        SnapshotState::Started => drop(store.mark_snapshot_started(&handle, wait)?),
        SnapshotState::Complete => drop(store.mark_snapshot_complete(&handle, wait)?),
    }
    if let Some(at) = last_read {
        store.touch(&handle, at)?;
    }
    Ok(())
}
