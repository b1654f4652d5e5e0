//! Consecutive large batches. Below a buffer, each is published in parallel with the commit of the next one,
//! and is also applied to the other side of the table.

use std::thread;

use shape_meta_cache::CacheOptions;
use shape_meta_core::{
    ErrorKind, MemoryStore, ReadShapes, ShapeStore,
    conformance::{
        FailingStore, Side, handle, key,
        store::{added, removed},
    },
};

use crate::support::{batch, cached_below_buffer, record};

const MANY: u64 = 5_000;

#[test]
fn c1_large_batches_are_applied_in_order_though_one_fails() {
    let cached = cached_below_buffer(FailingStore::new(MemoryStore::new()), CacheOptions::default());
    let records: Vec<_> = (1..=3 * MANY).map(|number| record(number, number)).collect();
    let parts: Vec<_> = records.chunks(MANY as usize).collect();
    for (through, part) in (1..).map(|part| part * MANY).zip(&parts) {
        cached.inner().faults().fail_applies(1, ErrorKind::Busy, Side::Before);
        let changes = batch(through, part.iter().map(added));
        assert!(cached.apply(&changes).is_err());
        assert_eq!(cached.counts().unwrap().total, through - MANY, "nothing of it is visible");
        cached.apply(&changes).unwrap();
        assert_eq!(cached.counts().unwrap().total, through);
        assert_eq!(cached.handle_for(&key(through)).unwrap(), Some(handle(through)));
        assert_eq!(cached.handle_for(&key(through + 1)).unwrap(), None);
    }
    cached.apply(&batch(3 * MANY + 1, parts[1].iter().map(removed))).unwrap();
    for number in 1..=3 * MANY {
        let gone = (MANY + 1..=2 * MANY).contains(&number);
        assert_eq!(cached.metadata(&handle(number)).unwrap().is_none(), gone);
        assert_eq!(cached.handle_for(&key(number)).unwrap().is_none(), gone);
    }
}

/// I2, C1: each batch is visible when it is published, and not before.
#[test]
fn i2_large_batches_are_published_while_the_next_one_is_committed() {
    let options = CacheOptions::default();
    let cached = cached_below_buffer(FailingStore::new(MemoryStore::new()), options);
    let records: Vec<_> = (1..=4 * MANY).map(|number| record(number, number)).collect();
    let parts = (1..).map(|part| part * MANY).zip(records.chunks(MANY as usize));
    let batches: Vec<_> = parts.map(|(through, part)| batch(through, part.iter().map(added))).collect();
    cached.commit(&batches[0]).unwrap();
    for [one, next] in batches.array_windows() {
        assert_eq!(cached.counts().unwrap().total, one.through.get() - MANY, "nothing of it is visible");
        cached.inner().faults().fail_applies(1, ErrorKind::Busy, Side::After);
        thread::scope(|scope| {
            scope.spawn(|| cached.publish(one));
            assert!(cached.commit(next).is_err(), "its result is lost");
            cached.commit(next).unwrap();
        });
        cached.publish(one);
        assert_eq!(cached.counts().unwrap().total, one.through.get(), "a repeated publish has no effect");
        let last = one.through.get();
        assert_eq!(cached.handle_for(&key(last)).unwrap(), Some(handle(last)));
        assert_eq!(cached.handle_for(&key(last + 1)).unwrap(), None);
    }
}
