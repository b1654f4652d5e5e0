//! C1 with concurrent readers: no read of any index returns an older state than an earlier read.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    NewShape, ReadShapes, ReadShapesExt, Relation, Seq,
    conformance::{
        CompositionFixture, View,
        assertions::{add, remove},
        sample::{handle, key, relations, shape},
        view::read,
    },
};

const READERS: usize = 3;

/// Sets its flag when it is dropped, also by a panic, so that no thread waits for one that has panicked.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// While one thread adds shapes, other threads see the number of shapes grow and never shrink, by handle,
/// key, relation, counts, scan and last sequence number alike. So all indexes change in one step.
pub fn c1_all_indexes_change_in_one_step<F: CompositionFixture>(fixture: &F) {
    let shapes = (fixture.large_count() as u64 / 10).max(100);
    let store = fixture.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut floor = 0;
                let mut random = reader as u64;
                // One more round after the writer is done sees the final state.
                for last in [false, true] {
                    while last || !done.load(Ordering::Acquire) {
                        for _ in 0..7 {
                            floor = at_least(store, random % 7, floor, shapes);
                            random =
                                random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695) >> 3;
                        }
                        if last {
                            break;
                        }
                    }
                }
            });
        }
        let _done = SetOnDrop(&done);
        for number in 1..=shapes {
            add(&store, &NewShape { relations: relations(&[1]), indexed: true, ..shape(number) });
            if number % 16 == 0 {
                fixture.flush(&store);
            }
        }
    });
    assert_eq!(View::of(&store).counts.total, shapes);
}

/// Returns a lower bound of the shapes that this kind of read sees, and asserts that it is not below `floor`.
fn at_least<S: ReadShapes>(store: &S, kind: u64, floor: u64, shapes: u64) -> u64 {
    let exact = |found: u64, by: &str| {
        assert!(found >= floor, "C1: {found} shapes by {by} after {floor} were seen");
        found
    };
    // A point read only shows whether the next shape is live. The shape before it must be live.
    let point = |live: &dyn Fn(u64) -> bool, by: &str| {
        assert!(floor == 0 || live(floor), "C1: shape {floor} is missing by {by} after it was seen");
        if floor < shapes && live(floor + 1) { floor + 1 } else { floor }
    };
    match kind {
        0 => exact(read(store.counts()).total, "counts"),
        1 => exact(read(store.counts()).indexed, "counts of indexed shapes"),
        2 => exact(read(store.handles_for_relations(&[Relation::new(1)])).len() as u64, "relation"),
        3 => exact(read(store.last_seq()).get(), "last sequence number"),
        4 if floor.is_multiple_of(8) => {
            let scanned = read(store.scan()).map(|item| read(item).metadata.created.get());
            let scanned: Vec<_> = scanned.collect();
            assert!(scanned.iter().copied().eq(1..=scanned.len() as u64), "C1: a scan returns a prefix");
            exact(scanned.len() as u64, "scan")
        }
        4 | 5 => point(&|number| read(store.handle_for(&key(number))).is_some(), "key"),
        _ => point(&|number| read(store.record(&handle(number))).is_some(), "handle"),
    }
}

/// While one thread removes a shape and adds it again under the same handle, each time with another key,
/// relation, hash and definition, other threads never see a mix of two versions, nor an older version after a
/// newer one.
pub fn c1_reads_never_mix_versions_of_a_shape<F: CompositionFixture>(fixture: &F) {
    const RELATIONS: u64 = 3;
    let versions = (fixture.large_count() as u64 / 20).max(100);
    let store = fixture.open();
    let version = |number: u64| NewShape {
        handle: handle(0),
        relations: relations(&[(number % RELATIONS) as u32]),
        definition: number.to_le_bytes().as_slice().into(),
        ..shape(number)
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                // The newest version whose record was seen, its sequence number, and the highest one seen by
                // any read.
                let (mut latest, mut created, mut newest) = (0, Seq::ZERO, Seq::ZERO);
                while !done.load(Ordering::Acquire) {
                    if let Some(record) = read(store.record(&handle(0))) {
                        let bytes = <[u8; 8]>::try_from(&*record.definition).expect("eight bytes");
                        let number = u64::from_le_bytes(bytes);
                        let expected = shape(number);
                        assert_eq!((*record.key(), record.entry.hash()), (expected.key, expected.hash));
                        assert_eq!(*record.entry.relations(), [Relation::new((number % RELATIONS) as u32)]);
                        assert!(number >= latest, "C1: version {number} after {latest}");
                        (latest, created) = (number, record.entry.created());
                        assert!(created >= newest, "C1: a record of {created} after {newest} was seen");
                        newest = created;
                    }
                    if let Some(metadata) = read(store.metadata(&handle(0))) {
                        assert!(metadata.created >= newest, "C1: {metadata:?} after {newest} was seen");
                        newest = metadata.created;
                    }
                    for older in latest.saturating_sub(2)..latest {
                        assert_eq!(
                            read(store.handle_for(&key(older))),
                            None,
                            "C1: the key of an older version is not live"
                        );
                    }
                    if read(store.handle_for(&key(latest + 1))).is_some() {
                        let current = read(store.metadata(&handle(0))).map(|metadata| metadata.created);
                        assert!(current.is_none_or(|seq| seq > created), "C1: {current:?} after a newer key");
                    }
                    let counts = read(store.counts());
                    assert!(counts.total <= 1, "C1: {counts:?} of one shape");
                    let all_relations: Vec<_> = (0..RELATIONS as u32).map(Relation::new).collect();
                    assert!(read(store.handles_for_relations(&all_relations)).len() <= 1);
                    assert!(read(store.list()).len() <= 1);
                }
            });
        }
        let _done = SetOnDrop(&done);
        for number in 1..=versions {
            add(&store, &version(number));
            if number % 5 == 0 {
                fixture.flush(&store);
            }
            remove(&store, &handle(0));
            if number % 7 == 0 {
                fixture.flush(&store);
            }
        }
    });
    assert_eq!(View::of(&store).shapes, []);
}
