//! The cost of cleanup tasks (C12): removals and resets with a cleaner that stores data, and without one. And
//! that of a removal with dependants, which scans all shapes.
//!
//! `cargo bench -p shape-meta-bench-criterion --bench cleanup`

use std::time::{Duration, Instant};

use shape_meta::{
    BoxError, BufferOptions, CacheOptions, Handle, NoopCleaner, Removal, ShapeCleaner, ShapeMeta, prelude::*,
};
use shape_meta_core::conformance::{handle, shape};

const REMOVED: u64 = 100_000;
const RESET: u64 = 300_000;
const TIMEOUT: Duration = Duration::from_secs(60);
const WAIT: Wait = Wait::UpTo(TIMEOUT);

/// A cleaner that has nothing to delete, but is handed everything.
struct Counted;

impl ShapeCleaner for Counted {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        Ok(())
    }
}

fn filled(cleaner: impl ShapeCleaner + 'static, shapes: u64) -> (tempfile::TempDir, ShapeMeta) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = ShapeMeta::builder(cleaner)
        .background_cleanup(false)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default().background_flush(false).max_pending_shapes(1 << 20))
        .open(directory.path())
        .expect("it opens");
    for number in 1..=shapes {
        store.add(shape(number), WAIT).expect("it is new");
        if number.is_multiple_of(100_000) {
            store.flush(TIMEOUT).expect("the disk works");
        }
    }
    store.flush(TIMEOUT).expect("the disk works");
    (directory, store)
}

fn millis(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}

fn measure<C: ShapeCleaner + 'static>(name: &str, cleaner: fn() -> C) {
    let (_directory, store) = filled(cleaner(), REMOVED);
    let removed = millis(|| {
        (1..=REMOVED).for_each(|number| drop(store.remove(&handle(number), WAIT).expect("it is live")));
        store.flush(TIMEOUT).expect("the disk works");
    });
    let cleaned = millis(|| while store.clean_once().expect("the cleaner works") {});
    let (_directory, store) = filled(cleaner(), RESET);
    let accepted = millis(|| drop(store.reset(WAIT).expect("it is accepted")));
    let reset = millis(|| store.flush(TIMEOUT).expect("the disk works"));
    println!(
        "{name}: {REMOVED} removals {removed:.0} ms, their cleaning {cleaned:.0} ms; a reset of {RESET} shapes is \
         accepted in {accepted:.2} ms and durable in {reset:.0} ms"
    );
}

fn measure_dependants(shapes: u64) {
    let (_directory, store) = filled(NoopCleaner, shapes);
    let removed = (1..=5).map(|number| {
        let removal = Removal::of_handles([handle(number).as_str()]).with_dependants();
        millis(|| drop(store.remove_all(removal, WAIT).expect("it is accepted")))
    });
    let removed: Vec<_> = removed.map(|millis| format!("{millis:.0}")).collect();
    println!("a removal of one shape with its dependants, of {shapes}: {} ms", removed.join(", "));
}

fn main() {
    measure_dependants(100_000);
    measure_dependants(1_000_000);
    for _ in 0..3 {
        measure("without stored data", || NoopCleaner);
        measure("with stored data   ", || Counted);
    }
}
