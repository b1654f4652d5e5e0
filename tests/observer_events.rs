//! The `tracing` output of a database's life: every span and event of a store that a user would open, in
//! order.

use std::{
    fmt::{Debug, Write as _},
    path::Path,
    sync::{Arc, Mutex},
};

use shape_meta::{
    BoxError, Handle, MutateShapesExt, ReadShapes, ShapeCleaner, ShapeMeta, StoreControl, TracingObserver,
    Wait,
};
use shape_meta_core::conformance::shape;
use tempfile::TempDir;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*, registry::LookupSpan};

use shape_meta_harness::compositions::{FlushSchedule, PRODUCT, TIMEOUT, directory, sqlite};

/// Records spans and events as lines, indented by their enclosing spans.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

/// The fields whose values are the same in each run.
struct StableFields(String);

impl Visit for StableFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        if !matches!(name, "message" | "path" | "bytes") && !name.ends_with("_us") {
            write!(self.0, " {name}={value:?}").expect("a string");
        }
    }
}

impl Lines {
    fn write(&self, depth: usize, name: &str, values: impl FnOnce(&mut StableFields)) {
        let mut fields =
            StableFields(format!("{}{}", "  ".repeat(depth), name.trim_start_matches("shape_meta.")));
        values(&mut fields);
        self.0.lock().expect("no panic").push(fields.0.replace(" stack=\"main\"", ""));
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().expect("no panic")).join("\n")
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let depth = context.span(id).expect("it is there").scope().count() - 1;
        self.write(depth, span.metadata().name(), |fields| span.record(fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let depth = context.event_scope(event).map_or(0, |scope| scope.count());
        self.write(depth, event.metadata().name(), |fields| event.record(fields));
    }
}

/// A cleaner that does nothing.
struct Cleaner;

impl ShapeCleaner for Cleaner {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        Ok(())
    }
}

fn open(directory: &Path) -> ShapeMeta {
    let observer = Arc::new(TracingObserver::new("main"));
    let builder = ShapeMeta::builder(Cleaner).observer(observer).sqlite(sqlite());
    // The flush runs on this thread, which has the subscriber.
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    composition.apply_to(builder).open(directory).expect("it opens")
}

#[test]
fn the_events_of_two_lives_of_a_database() {
    let (directory, lines) = (directory(), Lines::default());
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));

    let store = open(directory.path());
    insta::assert_snapshot!("opening_an_empty_database", lines.take());

    for number in [1, 2] {
        store.add(shape(number), Wait::No).expect("there is capacity");
    }
    store.mark_snapshot_complete(&shape(1).handle, Wait::No).expect("it is there");
    assert!(store.add(shape(1), Wait::No).is_err());
    store.flush(TIMEOUT).expect("it is written");
    assert!(store.record(shape(1).handle.as_str()).expect("it reads").is_some());
    insta::assert_snapshot!("working", lines.take());

    // The snapshot of the second shape is not complete.
    drop(store);
    insta::assert_snapshot!("dropping", lines.take());

    let store = open(directory.path());
    insta::assert_snapshot!("opening_what_was_left", lines.take());
    assert!(store.close(TIMEOUT).is_complete());
    insta::assert_snapshot!("closing", lines.take());
}

/// Records the names of events of level `INFO` or above.
#[derive(Clone, Default)]
struct Loud(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber> Layer<S> for Loud {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() <= tracing::Level::INFO {
            self.0.lock().expect("no panic").push(metadata.name());
        }
    }
}

/// A first start, a clean start, and a start after a crash that left nothing to remove say only that the
/// database was opened. A start that removed a shape says so, too.
#[test]
fn c6_only_a_start_that_removes_shapes_says_so() {
    let (directory, loud) = (directory(), Loud::default());
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(loud.clone()));
    let logged = || std::mem::take(&mut *loud.0.lock().expect("no panic"));
    let opened = ["shape_meta.opened"];

    let store = open(directory.path());
    assert_eq!(logged(), opened, "the first start");
    store.add(shape(1), Wait::No).expect("there is capacity");
    store.mark_snapshot_complete(&shape(1).handle, Wait::No).expect("it is there");
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    assert_eq!(logged(), [""; 0], "a clean end");

    let store = open(directory.path());
    assert_eq!(logged(), opened, "a clean start");
    let after_crash = copy(directory.path());
    drop(store);
    logged();
    let store = open(after_crash.path());
    assert_eq!(logged(), opened, "a start after a crash without a loss");

    store.add(shape(2), Wait::No).expect("there is capacity");
    store.flush(TIMEOUT).expect("it is written");
    let with_incomplete = copy(after_crash.path());
    drop(store);
    logged();
    drop(open(with_incomplete.path()));
    assert_eq!(logged(), ["shape_meta.opened", "shape_meta.recovered"], "a start that removed a shape");
}

/// Copies the files of an open store: what a crash leaves.
fn copy(from: &Path) -> TempDir {
    let to = directory();
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        // Nothing else closes a database file of this process: SQLite would lose its locks.
        let name = entry.file_name();
        let copied = std::process::Command::new("cp").arg(entry.path()).arg(to.path().join(name)).status();
        assert!(copied.expect("cp is there").success());
    }
    to
}
