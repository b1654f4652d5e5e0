use std::{collections::HashSet, sync::Arc};

use proptest::prelude::*;
use shape_meta_core::{
    Batch, Change, Handle, HandleSet, MemoryStore, NoopObserver, ReadShapes, Record, Relation, Seq,
    ShapeStore, SnapshotState, Timestamp,
};

use super::{cases, record};
use crate::{
    CacheOptions, Cached, LookupIndex,
    table::{Grouping, Groupings, Slots},
    write::MirrorUpdate,
};

/// An operation of a random history. Numbers select among the existing shapes.
#[derive(Clone, Debug)]
enum Op {
    Add,
    Remove(usize),
    RemoveUnknown(usize),
    Mark(usize, bool),
    Touch(usize, u64),
    Reset,
    Flush,
    Reload,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => Just(Op::Add),
        8 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::RemoveUnknown),
        3 => any::<(usize, bool)>().prop_map(|(at, complete)| Op::Mark(at, complete)),
        5 => (any::<usize>(), 1..50_u64).prop_map(|(at, micros)| Op::Touch(at, micros)),
        1 => Just(Op::Reset),
        6 => Just(Op::Flush),
        1 => Just(Op::Reload),
        1 => Just(Op::Reopen),
    ]
}

struct Machine {
    cached: Cached<Arc<MemoryStore>>,
    below: Arc<MemoryStore>,
    options: CacheOptions,
    mask: u64,
    live: Vec<Arc<Record>>,
    dead: Vec<Arc<Record>>,
    next: u64,
    pending: Vec<Change>,
}

impl Machine {
    fn new(options: CacheOptions, mask: u64) -> Self {
        let below = Arc::new(MemoryStore::new());
        let cached = Cached::open_with(
            Arc::clone(&below),
            options.clone(),
            Arc::new(NoopObserver),
            Slots::with_mask(mask),
            false,
        )
        .unwrap();
        Self { cached, below, options, mask, live: vec![], dead: vec![], next: 0, pending: vec![] }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Add => {
                self.next += 1;
                // Handles and keys of removed shapes are used again (C3).
                let free =
                    (0..).find(|n| !self.live.iter().any(|live| live.entry.hash().get() == *n)).unwrap();
                let new = record(self.next, free, free, self.next % 4);
                self.pending.push(Change::Add { record: Arc::clone(&new), state: SnapshotState::Pending });
                self.live.push(new);
            }
            Op::Remove(at) if !self.live.is_empty() => {
                let old = self.live.swap_remove(at % self.live.len());
                self.pending.push(Change::Remove { entry: Arc::clone(&old.entry) });
                self.dead.push(old);
                self.next += 1;
            }
            Op::RemoveUnknown(at) if !self.dead.is_empty() => {
                let old = &self.dead[at % self.dead.len()];
                self.pending.push(Change::Remove { entry: Arc::clone(&old.entry) });
                self.next += 1;
            }
            Op::Mark(at, complete) if !self.live.is_empty() => {
                let entry = Arc::clone(&self.live[at % self.live.len()].entry);
                let state = if complete { SnapshotState::Complete } else { SnapshotState::Started };
                self.pending.push(Change::Mark { entry, state });
                self.next += 1;
            }
            Op::Touch(at, micros) if !self.live.is_empty() => {
                let handle = self.live[at % self.live.len()].handle().clone();
                self.cached.touch(&handle, Timestamp::from_micros(micros)).unwrap();
            }
            Op::Reset => {
                self.pending.push(Change::Reset);
                self.dead.append(&mut self.live);
                self.next += 1;
            }
            Op::Flush => {
                let changes = std::mem::take(&mut self.pending);
                self.cached.apply(&Batch { changes, through: Seq::new(self.next) }).unwrap();
            }
            Op::Reload => {
                self.cached.reload().unwrap();
            }
            Op::Reopen => {
                self.cached = Cached::open_with(
                    Arc::clone(&self.below),
                    self.options.clone(),
                    Arc::new(NoopObserver),
                    Slots::with_mask(self.mask),
                    false,
                )
                .unwrap();
            }
            _ => {}
        }
        self.check();
    }

    /// Compares every read through the cache with the store below.
    fn check(&self) {
        let (cached, below) = (&self.cached, &*self.below);
        assert_eq!(cached.counts().unwrap(), below.counts().unwrap());
        assert_eq!(cached.last_seq().unwrap(), below.last_seq().unwrap());
        for record in self.live.iter().chain(&self.dead) {
            let handle = record.handle();
            assert_eq!(cached.metadata(handle).unwrap(), below.metadata(handle).unwrap());
            assert_eq!(cached.handle_for(record.key()).unwrap(), below.handle_for(record.key()).unwrap());
            let created = |entry: Option<Arc<shape_meta_core::Entry>>| entry.map(|entry| entry.created());
            assert_eq!(created(cached.entry(handle).unwrap()), created(below.entry(handle).unwrap()));
            assert_eq!(cached.record(handle).unwrap().is_some(), below.record(handle).unwrap().is_some());
        }
        for relations in [&[0][..], &[1], &[2], &[9], &[0, 1, 2], &[2, 2, 9], &[]] {
            let relations: Vec<_> = relations.iter().copied().map(Relation::new).collect();
            let sorted = |mut handles: Vec<Handle>| {
                handles.sort();
                handles
            };
            let expected = sorted(below.handles_for_relations(&relations).unwrap());
            assert_eq!(sorted(cached.handles_for_relations(&relations).unwrap()), expected);
        }
        let excluded: HandleSet = self.live.iter().take(2).map(|record| record.handle().clone()).collect();
        for n in [0, 1, 3, usize::MAX] {
            let expected = below.least_recently_used(n, &excluded).unwrap();
            assert_eq!(cached.least_recently_used(n, &excluded).unwrap(), expected);
        }
        let scanned: Vec<_> = cached.scan().unwrap().map(|item| item.unwrap().metadata).collect();
        let expected: Vec<_> = below.scan().unwrap().map(|item| item.unwrap().metadata).collect();
        assert_eq!(scanned, expected);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn reads_equal_those_of_the_store_below(
        ops in prop::collection::vec(op(), 1..120),
        bits in prop_oneof![Just(0), 0..4_u32, Just(64)],
        on_disk: bool,
        keys_per_slot in 1..5_u32,
        exact_key_slots_up_to in prop_oneof![Just(0), 0..30_usize, Just(usize::MAX)],
    ) {
        let lookup_index = if on_disk { LookupIndex::Disk } else { LookupIndex::Memory };
        let options = CacheOptions::default()
            .lookup_index(lookup_index)
            .keys_per_slot(keys_per_slot)
            .exact_key_slots_up_to(exact_key_slots_up_to);
        let mask = 1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1);
        let mut machine = Machine::new(options, mask);
        for op in ops {
            machine.step(op);
        }
    }
}

/// All shapes share one slot, which holds far more values than fit into it inline.
#[test]
fn hundreds_of_colliding_shapes_are_distinguished() {
    let mut machine = Machine::new(CacheOptions::default(), 0);
    for _ in 0..200 {
        machine.step(Op::Add);
    }
    machine.step(Op::Flush);
    for _ in 0..199 {
        machine.step(Op::Remove(7));
    }
    machine.step(Op::Flush);
    assert_eq!(machine.cached.counts().unwrap().total, 1);
}

/// The number of keys outgrows the first grouping, so that they are regrouped several times.
#[test]
fn keys_are_found_after_regrouping() {
    // Shared slots from the start; and own slots up to a limit.
    for exact_key_slots_up_to in [0, 12_000] {
        let options = CacheOptions::default().keys_per_slot(2).exact_key_slots_up_to(exact_key_slots_up_to);
        let cached = Cached::open(MemoryStore::new(), options, Arc::new(NoopObserver)).unwrap();
        let grouping = || cached.mirror.read(|view| Some(view.totals().groupings)).unwrap();
        let mut groupings = vec![grouping()];
        let records: Vec<_> = (1..=40_000).map(|number| record(number, number, number, 1)).collect();
        let check = |added: usize| {
            for (number, record) in records.iter().enumerate() {
                let expected = (number < added && number % 10 != 0).then(|| record.handle().clone());
                assert_eq!(cached.handle_for(record.key()).unwrap(), expected);
            }
        };
        for part in records.chunks(5_000) {
            let adds = part
                .iter()
                .map(|record| Change::Add { record: Arc::clone(record), state: SnapshotState::Pending });
            let removed =
                part.iter().step_by(10).map(|record| Change::Remove { entry: Arc::clone(&record.entry) });
            let through = part.last().unwrap().entry.created();
            cached.apply(&Batch { changes: adds.chain(removed).collect(), through }).unwrap();
            groupings.push(grouping());
            check(through.get() as usize);
        }
        // Each batch moves keys, also one without changes.
        let mut through = records.len() as u64;
        while grouping().earlier().is_some() {
            through += 1;
            cached.apply(&Batch { changes: vec![], through: Seq::new(through) }).unwrap();
        }
        check(records.len());
        let exact = groupings.iter().filter(|groupings| groupings.current() == Grouping::EXACT).count();
        assert_eq!(exact, if exact_key_slots_up_to == 0 { 1 } else { 3 }, "{groupings:?}");
        groupings.dedup();
        assert!(groupings.len() > 2, "{groupings:?}");
        let live =
            records.iter().enumerate().filter(|(number, _)| number % 10 != 0).map(|(_, record)| record);
        let key_slot = |record: &Arc<Record>| cached.mirror.slots.key(record.key(), grouping().current()).id;
        let key_slots: HashSet<_> = live.clone().map(key_slot).collect();
        let slots = cached.writer().expect("not within a write").table.slots();
        assert_eq!(slots, live.count() + key_slots.len() + 1, "no slot of an earlier grouping is left");
    }
}

#[test]
fn keys_share_slots_where_that_saves_memory() {
    for (shapes, is_exact) in [(1_000, true), (60_000, false), (100_000, true)] {
        let options = CacheOptions::default().exact_key_slots_up_to(0).initial_capacity(shapes);
        let cached = Cached::open(MemoryStore::new(), options, Arc::new(NoopObserver)).unwrap();
        let grouping = cached.mirror.read(|view| Some(view.totals().groupings)).unwrap();
        assert_eq!(grouping == Groupings::settled(Grouping::EXACT), is_exact, "{shapes}");
    }
}

/// While keys move to shared slots, each shape is found, and removed, wherever its key is.
#[test]
fn keys_are_removed_while_they_move() {
    let options = CacheOptions::default().exact_key_slots_up_to(10);
    for removed in 1..=11 {
        let cached = Cached::open(MemoryStore::new(), options.clone(), Arc::new(NoopObserver)).unwrap();
        let records: Vec<_> = (1..=11).map(|number| record(number, number, number, 1)).collect();
        let add =
            |record: &Arc<Record>| Change::Add { record: Arc::clone(record), state: SnapshotState::Pending };
        let apply = |through: u64, changes: Vec<Change>| {
            cached.apply(&Batch { changes, through: Seq::new(through) }).unwrap();
            cached.mirror.read(|view| Some(view.totals().groupings)).unwrap().earlier()
        };
        assert_eq!(apply(10, records[..10].iter().map(add).collect()), None);
        let moved_with_one_change = apply(11, vec![add(&records[10])]);
        assert_eq!(moved_with_one_change, Some((Grouping::EXACT, Seq::new(9))));
        let entry = Arc::clone(&records[removed - 1].entry);
        assert!(apply(12, vec![Change::Remove { entry }]).is_some(), "two more have moved");
        for through in 13..=20 {
            for record in &records {
                let is_live = record.entry.created() != Seq::new(removed as u64);
                let expected = is_live.then(|| record.handle().clone());
                assert_eq!(cached.handle_for(record.key()).unwrap(), expected, "{removed}, {through}");
            }
            apply(through, vec![]);
        }
        assert_eq!(apply(21, vec![]), None, "all have moved");
    }
}

/// A reload may add shapes between older ones, replace some, and remove the oldest, all while keys move.
#[test]
fn shapes_of_a_reload_are_found_while_keys_move() {
    let options = CacheOptions::default().exact_key_slots_up_to(60);
    let cached = Cached::open(MemoryStore::new(), options, Arc::new(NoopObserver)).unwrap();
    let mut writer = cached.writer().expect("not within a write");
    let mut change = |change: &dyn Fn(&mut MirrorUpdate<'_>), last_seq| {
        let mut update = MirrorUpdate::new(&cached.mirror, &mut writer);
        change(&mut update);
        let cleanup = update.publish(Seq::new(last_seq));
        writer.clean_up(cleanup);
        writer.totals.groupings.earlier().map(|(_, newest)| newest.get())
    };
    let records: Vec<_> = (1..=61).map(|number| record(2 * number, number, number, 1)).collect();
    change(&|update| records[..60].iter().for_each(|record| update.add(&record.entry)), 120);
    // Shapes 122 and 120 have moved.
    assert_eq!(change(&|update| update.add(&records[60].entry), 122), Some(118));

    let late = [record(5, 100, 100, 1), record(121, 101, 101, 1)];
    let others = [record(6, 102, 102, 1), record(120, 103, 103, 1)];
    let reload = |update: &mut MirrorUpdate<'_>| {
        late.iter().for_each(|record| update.add(&record.entry));
        others.iter().for_each(|record| update.replace(&record.entry));
        update.reset_up_to(Seq::new(4));
    };
    let mut newest = change(&reload, 123);
    assert!(newest.is_some_and(|newest| newest > 80), "{newest:?}");
    let gone = [2, 4, 6, 120];
    while newest.is_some() {
        for record in &records {
            let expected = (!gone.contains(&record.entry.created().get())).then(|| record.handle().clone());
            assert_eq!(cached.handle_for(record.key()).unwrap(), expected, "{newest:?}");
        }
        for record in late.iter().chain(&others) {
            assert_eq!(
                cached.handle_for(record.key()).unwrap().as_ref(),
                Some(record.handle()),
                "{newest:?}"
            );
        }
        newest = change(&|_| {}, 123);
    }
    for record in late.iter().chain(&others) {
        assert_eq!(cached.handle_for(record.key()).unwrap().as_ref(), Some(record.handle()));
    }
}

/// A shape is replaced by another one with the same sequence number in the batch that moves its key.
#[test]
fn the_key_of_a_replaced_shape_is_regrouped() {
    let options = CacheOptions::default().exact_key_slots_up_to(10);
    let cached = Cached::open(MemoryStore::new(), options, Arc::new(NoopObserver)).unwrap();
    let records: Vec<_> = (1..=20).map(|number| record(number, number, number, 1)).collect();
    let other = record(3, 30, 30, 1);
    let mut writer = cached.writer().expect("not within a write");
    for part in [&records[..10], &records[10..]] {
        let mut update = MirrorUpdate::new(&cached.mirror, &mut writer);
        part.iter().for_each(|record| update.add(&record.entry));
        if part[0].entry.created() > Seq::new(10) {
            update.replace(&other.entry);
        }
        let cleanup = update.publish(part.last().unwrap().entry.created());
        writer.clean_up(cleanup);
    }
    assert_ne!(writer.totals.groupings.current(), Grouping::EXACT);
    for record in &records {
        let expected = (record.entry.created() != Seq::new(3)).then(|| record.handle().clone());
        assert_eq!(cached.handle_for(record.key()).unwrap(), expected);
    }
    assert_eq!(cached.handle_for(other.key()).unwrap().as_ref(), Some(other.handle()));
}
