//! The load on the store.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use shape_meta::{
    admission::{Admission, Kind},
    prelude::*,
};

use crate::{Options, Result};

const CLIENTS: usize = 64;

/// A part of the load.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// Four clients, each with a pause between its requests.
    Quiet,
    /// All clients send requests as fast as admission permits.
    Storm,
    /// A storm while another connection holds the write lock. Nothing is committed, and the pending changes
    /// reach their bound.
    Held,
}

/// Plays the parts in turn until the time is up.
pub(crate) fn play(store: &ShapeMeta, admission: &Admission, directory: &Path, options: &Options) -> Result {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let numbers = AtomicU64::new(0);
    for part in [Part::Quiet, Part::Storm, Part::Quiet, Part::Held].into_iter().cycle() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let holder = (part == Part::Held).then(|| hold(directory)).transpose()?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..if part == Part::Quiet { 4 } else { CLIENTS } {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        request(store, admission, numbers.fetch_add(1, Ordering::Relaxed));
                        if part == Part::Quiet {
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                });
            }
            thread::sleep(left.min(Duration::from_secs(options.part)));
            over.store(true, Ordering::Relaxed);
        });
        drop(holder);
    }
    Ok(())
}

/// Plays one request: adds a shape and reads it. A refused client pauses.
fn request(store: &ShapeMeta, admission: &Admission, number: u64) {
    let mut permit = match admission.try_acquire(Kind::Initial) {
        Ok(permit) => permit,
        Err(rejected) => return thread::sleep(rejected.retry_after.min(Duration::from_millis(200))),
    };
    // Every hundredth request is for an existing shape.
    let shape = shape(if number.is_multiple_of(100) { number / 2 } else { number });
    let Ok(added) = store.get_or_add(&shape, Wait::UpTo(Duration::from_millis(100))) else {
        return thread::sleep(Duration::from_millis(100));
    };
    if permit.switch_to(Kind::Existing).is_err() {
        return;
    }
    // The metrics report later errors.
    let _ = store.mark_snapshot_started(&added.handle, Wait::No);
    let _ = store.mark_snapshot_complete(&added.handle, Wait::No);
    let _ = store.touch(&added.handle, Timestamp::now());
    if number.is_multiple_of(50) {
        let _ = added.receipt.wait_durable(Duration::from_secs(1));
    }
    // Reads the definition of an earlier shape from the database.
    if number.is_multiple_of(10) {
        let _ = store.record(&handle(number.saturating_sub(10_000)));
    }
    // Removes an old shape if it exists, so that the store does not grow without bound.
    if let Some(old) = number.checked_sub(50_000).map(handle)
        && store.metadata(&old).is_ok_and(|found| found.is_some())
    {
        let _ = store.remove(&old, Wait::No);
    }
}

/// Takes the write lock of the database, as another process could.
fn hold(directory: &Path) -> Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(directory.join("shape-meta.sqlite3"))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}

fn handle(number: u64) -> String {
    format!("{number}-1768476874000000")
}

fn shape(number: u64) -> NewShape {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key[8..16].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    NewShape {
        handle: Handle::new(handle(number)).expect("printable"),
        key: Key::new(key),
        hash: DefinitionHash::new(number),
        relations: [Relation::new(16_384 + (number % 50) as u32)].into_iter().collect(),
        dependencies: [].into(),
        indexed: number.is_multiple_of(3),
        definition: vec![b'x'; 400].into(),
        created_at: None,
    }
}
