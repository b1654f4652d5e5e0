use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Error, ErrorKind, MutateError, MutateShapesExt, NoopObserver, Observer, ShapeStore, SnapshotState,
    StoreControl, Wait,
};
use shape_meta_sqlite::{DiskIndexes, OnCorruption, SqliteOptions, SqliteStore};

use super::{Line, Outcome};
use crate::{
    args::Database,
    database::Place,
    exit::{Failure, Success},
    json::ShapeJson,
    output,
};

/// Limit on a wait for a slow disk: for capacity in the buffer, and for the last flush.
const TIMEOUT: Duration = Duration::from_secs(600);

/// After how many failures in a row a note is printed: less than a second, and each tenfold of it.
const NOTED_FAILURES: [u32; 4] = [3, 30, 300, 3_000];

/// Says that the disk is waited for.
struct Notes;

impl Observer for Notes {
    fn retrying(&self, error: &Error, failures: u32, _: Duration) {
        if NOTED_FAILURES.contains(&failures) {
            output::note(format!(
                "the shapes could not be written {failures} times, and are tried again: {}",
                output::safe(&error.to_string())
            ));
        }
    }
}

/// Skipped lines that are reported one by one. All are counted.
const REPORTED: u64 = 100;

/// The lines that were left out, by reason.
#[derive(Default)]
struct Skipped {
    invalid: u64,
    not_utf8: u64,
    refused: u64,
}

impl Skipped {
    fn total(&self) -> u64 {
        self.invalid + self.not_utf8 + self.refused
    }

    fn report(&self, number: u64, reason: &str) {
        match self.total() {
            total if total <= REPORTED => {
                output::note(format!("line {number} skipped: {}", output::safe(reason)));
            }
            total if total == REPORTED + 1 => output::note("more lines are skipped, and only counted"),
            _ => {}
        }
    }
}

pub(super) fn run(database: &Database, file: Option<PathBuf>, out: &mut dyn Write) -> Outcome {
    let (place, file) = database.place_and(file.map(PathBuf::into_os_string))?;
    let input = super::input(file.as_deref().map(Path::new), "shapes in JSON")?;
    let target = Target::open(&place)?;
    let store = &*target.store;
    let (mut added, mut skipped) = (0_u64, Skipped::default());
    for line in super::lines(input) {
        let Line { number, bytes } = line.map_err(Failure::io("read the input"))?;
        let Ok(line) = str::from_utf8(&bytes) else {
            skipped.not_utf8 += 1;
            skipped.report(number, "it is not UTF-8");
            continue;
        };
        let shape = serde_json::from_str::<ShapeJson>(line).map_err(|error| error.to_string());
        let shape = shape.and_then(ShapeJson::into_parts);
        match shape.map(|shape| add(store, shape)) {
            Ok(Ok(())) => added += 1,
            Ok(Err(MutateError::Failed(error))) => return Err(error.into()),
            Ok(Err(MutateError::Refused(refusal))) => {
                skipped.refused += 1;
                skipped.report(number, &refusal.to_string());
            }
            Err(message) => {
                skipped.invalid += 1;
                skipped.report(number, &message);
            }
        }
    }
    let report = store.close(TIMEOUT);
    let released = target.release();
    if !report.is_complete() {
        return Err(incomplete(report.unwritten, report.error).into());
    }
    released?;
    let total = skipped.total();
    let Skipped { invalid, not_utf8, refused } = skipped;
    if database.json {
        let reasons = json!({"invalid": invalid, "not_utf8": not_utf8, "refused": refused});
        output::json(out, &json!({"added": added, "skipped": total, "skipped_as": reasons}))?;
    } else {
        writeln!(out, "added: {added}, skipped: {total}")?;
        if total > 0 {
            writeln!(out, "skipped as invalid: {invalid}, not UTF-8: {not_utf8}, refused: {refused}")?;
        }
    }
    Ok(if total == 0 { Success::Clean } else { Success::Findings })
}

/// Returns the error of a close that could not write all changes, with the reason as its source.
fn incomplete(unwritten: u64, reason: Option<Error>) -> Error {
    let kind = reason.as_ref().map_or(ErrorKind::Io, Error::kind);
    let message = format!(
        "{unwritten} changes were not written to disk; the other shapes are added. Run the import again: it skips \
         shapes that exist"
    );
    let error = Error::new(kind, message);
    match reason {
        Some(reason) => error.with_source(reason),
        None => error,
    }
}

/// The store that shapes are added to.
struct Target {
    store: Box<dyn StoreControl>,
    #[cfg(feature = "postgres")]
    stack: Option<Arc<shape_meta_postgres::PostgresStore>>,
}

impl Target {
    /// Opens the store without a recovery. The next owner removes incomplete shapes, since only an owner has
    /// a cleaner.
    fn open(place: &Place) -> Result<Self, Failure> {
        match place {
            Place::Directory(directory) => {
                let options = SqliteOptions::default()
                    .disk_indexes(DiskIndexes::Omitted)
                    .last_reads(false)
                    .on_corruption(OnCorruption::Refuse);
                let store = SqliteStore::open(directory, options, Arc::new(NoopObserver))?;
                Ok(Self {
                    store: buffered(store)?,
                    #[cfg(feature = "postgres")]
                    stack: None,
                })
            }
            #[cfg(feature = "postgres")]
            Place::Stack(place) => {
                let options = place.options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
                let (pool, observer) = (place.pool()?, Arc::new(NoopObserver));
                let stack = shape_meta_postgres::PostgresStore::open(&pool, &place.stack, options, observer)?;
                let stack = Arc::new(stack);
                Ok(Self { store: buffered(Arc::clone(&stack))?, stack: Some(stack) })
            }
        }
    }

    /// Releases the ownership before the command ends, so that the next owner need not wait for the lease.
    fn release(&self) -> Result<(), Error> {
        #[cfg(feature = "postgres")]
        if let Some(stack) = &self.stack {
            return stack.release();
        }
        Ok(())
    }
}

/// Puts a cache and a buffer above a store.
fn buffered(store: impl ShapeStore + 'static) -> Result<Box<dyn StoreControl>, Error> {
    let cached = Cached::open(store, CacheOptions::default(), Arc::new(NoopObserver))?;
    Ok(Box::new(Buffered::new(cached, BufferOptions::default(), Arc::new(Notes))?))
}

fn add(
    store: &dyn StoreControl,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_an_incomplete_import_counts_what_is_not_written() {
        let error = incomplete(3, Some(Error::new(ErrorKind::StorageFull, "the disk is full")));
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let text = Failure::from(error).to_string();
        assert!(text.contains("3 changes were not written"), "{text}");
        assert!(text.contains("Run the import again"), "{text}");
        assert!(text.contains("caused by: the disk is full"), "{text}");
    }
}
