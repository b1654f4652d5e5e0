//! Large batches one after the other: the other side of the table is brought up to date beside the next
//! commit.

use shape_meta_cache::CacheOptions;
use shape_meta_core::{
    ApplyChanges, ErrorKind, MemoryStore, ReadShapes,
    conformance::{
        FailingStore, Side, handle, key,
        store::{added, removed},
    },
};

use crate::support::{batch, cached, record};

const MANY: u64 = 5_000;

#[test]
fn c1_large_batches_follow_one_another_also_when_one_fails() {
    let cached = cached(FailingStore::new(MemoryStore::new()), CacheOptions::default());
    let records: Vec<_> = (1..=3 * MANY).map(|number| record(number, number)).collect();
    let parts: Vec<_> = records.chunks(MANY as usize).collect();
    for (through, part) in (1..).map(|part| part * MANY).zip(&parts) {
        cached.inner().faults().fail_applies(1, ErrorKind::Busy, Side::Before);
        let changes = batch(through, part.iter().map(added));
        assert!(cached.apply(&changes).is_err());
        assert_eq!(cached.counts().unwrap().total, through - MANY, "nothing of it is seen");
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
