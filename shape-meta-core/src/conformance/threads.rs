//! C1 under threads: reads never go back, whichever index they use.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Fixture, View,
    act::{add, remove},
    sample::{handle, key, relations, shape},
    view::read,
};
use crate::{NewShape, ReadShapes, ReadShapesExt, Relation, Seq};

const READERS: usize = 3;

/// Sets its flag when it is dropped, also by a panic, so that nobody waits for a thread that is gone.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// While one thread adds shapes, others see their number grow and never shrink, whichever way they look:
/// by handle, by key, by relation, by the counts, by a scan, by the place in the order. So all of them
/// change in one step.
pub fn c1_all_indexes_grow_together<F: Fixture>(fixture: &F) {
    let shapes = (fixture.many() as u64 / 10).max(100);
    let store = fixture.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut floor = 0;
                let mut look = reader as u64;
                // One more round after the writer is done sees the end.
                for last in [false, true] {
                    while last || !done.load(Ordering::Acquire) {
                        for _ in 0..7 {
                            floor = at_least(store, look % 7, floor, shapes);
                            look = look.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695) >> 3;
                        }
                        if last {
                            break;
                        }
                    }
                }
            });
        }
        let _done = Done(&done);
        for number in 1..=shapes {
            add(&store, &NewShape { relations: relations(&[1]), indexed: true, ..shape(number) });
            if number % 16 == 0 {
                fixture.flush(&store);
            }
        }
    });
    assert_eq!(View::of(&store).counts.total, shapes);
}

/// How many shapes can be seen in this way, at least; never less than what was seen before.
fn at_least<S: ReadShapes>(store: &S, way: u64, floor: u64, shapes: u64) -> u64 {
    let exact = |found: u64, how: &str| {
        assert!(found >= floor, "C1: {found} shapes by {how} after {floor} were seen");
        found
    };
    // A point read tells one bit: whether the next shape is there. The one before it must be.
    let point = |live: &dyn Fn(u64) -> bool, how: &str| {
        assert!(floor == 0 || live(floor), "C1: shape {floor} is not there by {how} after it was seen");
        if floor < shapes && live(floor + 1) { floor + 1 } else { floor }
    };
    match way {
        0 => exact(read(store.counts()).total, "counts"),
        1 => exact(read(store.counts()).indexed, "counts of indexed shapes"),
        2 => exact(read(store.handles_for_relations(&[Relation::new(1)])).len() as u64, "relation"),
        3 => exact(read(store.last_seq()).get(), "the order"),
        4 if floor.is_multiple_of(8) => {
            let scanned = read(store.scan()).map(|listed| read(listed).metadata.created.get());
            let scanned: Vec<_> = scanned.collect();
            assert!(scanned.iter().copied().eq(1..=scanned.len() as u64), "C1: a scan shows a prefix");
            exact(scanned.len() as u64, "scan")
        }
        4 | 5 => point(&|number| read(store.handle_for(&key(number))).is_some(), "key"),
        _ => point(&|number| read(store.record(&handle(number))).is_some(), "handle"),
    }
}

/// While one thread removes a shape and adds it again under the same handle, each time with another key,
/// relation, hash and definition, others never see parts of two generations in one, nor an older
/// generation after a newer one.
pub fn c1_generations_never_mix<F: Fixture>(fixture: &F) {
    const RELATIONS: u64 = 3;
    let generations = (fixture.many() as u64 / 20).max(100);
    let store = fixture.open();
    let generation = |number: u64| NewShape {
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
                // The newest generation whose record was seen, and the newest add that was seen at all.
                let (mut latest, mut created, mut newest) = (0, Seq::ZERO, Seq::ZERO);
                while !done.load(Ordering::Acquire) {
                    if let Some(record) = read(store.record(&handle(0))) {
                        let bytes = <[u8; 8]>::try_from(&*record.definition).expect("eight bytes");
                        let number = u64::from_le_bytes(bytes);
                        let whole = shape(number);
                        assert_eq!((*record.key(), record.entry.hash()), (whole.key, whole.hash));
                        assert_eq!(*record.entry.relations(), [Relation::new((number % RELATIONS) as u32)]);
                        assert!(number >= latest, "C1: generation {number} after {latest}");
                        (latest, created) = (number, record.entry.created());
                        assert!(created >= newest, "C1: a record of {created} after {newest} was seen");
                        newest = created;
                    }
                    if let Some(metadata) = read(store.metadata(&handle(0))) {
                        assert!(metadata.created >= newest, "C1: {metadata:?} after {newest} was seen");
                        newest = metadata.created;
                    }
                    for older in latest.saturating_sub(2)..latest {
                        assert_eq!(read(store.handle_for(&key(older))), None, "C1: an old key is not live");
                    }
                    if read(store.handle_for(&key(latest + 1))).is_some() {
                        let now = read(store.metadata(&handle(0))).map(|metadata| metadata.created);
                        assert!(now.is_none_or(|now| now > created), "C1: {now:?} after a newer key");
                    }
                    let counts = read(store.counts());
                    assert!(counts.total <= 1, "C1: {counts:?} of one shape");
                    let everywhere: Vec<_> = (0..RELATIONS as u32).map(Relation::new).collect();
                    assert!(read(store.handles_for_relations(&everywhere)).len() <= 1);
                    let listed = read(store.list());
                    assert!(listed.len() <= 1);
                }
            });
        }
        let _done = Done(&done);
        for number in 1..=generations {
            add(&store, &generation(number));
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
