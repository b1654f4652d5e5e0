//! C5: the buffered compositions equal the direct one, read by read, and row by row after a flush.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use shape_meta::{
    ControlWrites, ErrorKind, ReadShapes, ShapeMeta, Timestamp,
    conformance::{
        FailingStore, Faults, Fixture, Seen, Side,
        ops::{Lockstep, Op},
    },
};
use tempfile::TempDir;

use crate::{
    compositions::{BUFFERED, Composition, DIRECT, Flushing, PATIENT, PRODUCT, PRODUCT_ON_DISK, directory},
    rows::Rows,
};

/// A composition over a store that fails when it is told to, over one database.
struct OneFile {
    composition: Composition,
    faults: Faults,
    directory: TempDir,
}

impl OneFile {
    fn new(composition: Composition) -> Self {
        Self { composition, faults: Faults::default(), directory: directory() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn rows(&self) -> Rows {
        Rows::of(self.path()).without_lookups()
    }
}

impl Fixture for OneFile {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        let below = Arc::new(self.composition.below(self.path()));
        self.composition.over(FailingStore::with(below, self.faults.clone()))
    }

    fn flush(&self, store: &ShapeMeta) {
        // As often as it was told to fail; each attempt takes one failure from the queue.
        let asked = Instant::now();
        while store.flush(PATIENT).is_err() {}
        assert!(asked.elapsed() < PATIENT, "nobody came to flush: {:?}", store.health());
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        self.composition.buffer.is_some()
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn disturb(&self, store: &ShapeMeta, way: u8) {
        if self.composition.buffer.is_none() {
            // Nobody tries again here, so the caller would notice.
            return;
        }
        match way % 5 {
            0 => self.faults.fail_applies(2, ErrorKind::Busy, Side::Before),
            1 => self.faults.fail_applies(1, ErrorKind::Io, Side::After),
            2 => self.faults.panic_applies(1, Side::Before),
            3 => self.faults.panic_applies(1, Side::After),
            // A flush that may fail, with what follows still to be accepted.
            _ => drop(store.flush(Duration::ZERO)),
        }
    }

    fn reopen(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        self.flush(&store);
        assert!(store.close(PATIENT).is_complete());
        drop(store);
        Ok(self.open())
    }
}

/// Plays the same operations on both. Each is compared with the reference model after every step, read by
/// read, and they are compared with one another; after every flush their files are.
fn equals_direct(composition: Composition, ops: &[Op]) {
    let (here, there) = (OneFile::new(composition), OneFile::new(DIRECT));
    let (mut buffered, mut direct) = (Lockstep::new(&here), Lockstep::new(&there));
    let mut paused = false;
    for op in ops.iter().copied().chain([Op::Resume, Op::Flush]) {
        buffered.step(op);
        direct.step(op);
        assert_eq!(seen(buffered.store()), seen(direct.store()), "C5: a scan of both after {op:?}");
        match op {
            Op::Pause => paused = true,
            Op::Resume => paused = false,
            Op::Reopen => {
                paused = false;
                assert_eq!(here.rows(), there.rows(), "C5: the rows after a reopening");
            }
            Op::Flush if !paused => assert_eq!(here.rows(), there.rows(), "C5: the rows after a flush"),
            _ => {}
        }
    }
    lookups_are_right(&here);
}

/// All but the moment at which they were opened, which is the clock's.
fn seen(store: &ShapeMeta) -> Vec<Seen> {
    let scan = store.scan().expect("it scans");
    scan.map(|listed| Seen { last_read: None, ..Seen::of(&listed.expect("it reads")) }).collect()
}

/// Where the file has index tables, they are those of its shapes: what a database without them would get
/// if they were built anew.
fn lookups_are_right(file: &OneFile) {
    let kept = Rows::of(file.path());
    if !kept.has("key_lookup") {
        return;
    }
    let copy = directory();
    let to = copy.path().join("shape-meta.sqlite3");
    crate::rows::stranger(file.path())
        .execute("VACUUM INTO ?1", [to.to_str().expect("a path of text")])
        .expect("it can be copied");
    crate::rows::stranger(copy.path())
        .execute_batch("DROP TABLE handle_lookup; DROP TABLE key_lookup; DROP TABLE relation_lookup")
        .expect("the tables are there");
    drop(shape_meta::SqliteStore::open(copy.path(), Default::default(), Arc::new(shape_meta::Silent)));
    assert_eq!(kept, Rows::of(copy.path()), "C5: the index tables are those of the shapes");
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..40)
}

/// So many cases, or as many as `PROPTEST_CASES` says.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn c5_buffered_equals_direct(ops in ops()) {
        equals_direct(BUFFERED.flushing(Flushing::Stepped), &ops);
    }

    #[test]
    fn c5_the_product_equals_direct(ops in ops()) {
        equals_direct(PRODUCT.flushing(Flushing::Stepped), &ops);
    }

    #[test]
    fn c5_the_product_with_lookups_on_disk_equals_direct(ops in ops()) {
        equals_direct(PRODUCT_ON_DISK.flushing(Flushing::Stepped), &ops);
    }
}

proptest! {
    #![proptest_config(cases(16))]

    /// The same while a thread flushes all the time, fails, panics and tries again: a failure may not come
    /// back for the same case, but is one.
    #[test]
    fn c5_whatever_the_flusher_does_meanwhile(ops in ops()) {
        for composition in [BUFFERED, PRODUCT, PRODUCT_ON_DISK] {
            equals_direct(composition.flushing(Flushing::Busy), &ops);
        }
    }
}
