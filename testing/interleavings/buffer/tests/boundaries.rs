//! Directed histories across the boundary of a flush, with readers that must see the states in sequence.

use std::sync::Mutex;

use shape_meta_core::{
    MutateShapesExt, ReadShapes, ReadShapesExt, Refusal, SnapshotState, StoreControl, Timestamp, Wait,
};
use shuttle::thread;

use crate::{
    explore::explore,
    support::{
        NEVER, Store, add, choose, handles, holder, manual, open, readers, see_in_order, shape, threaded,
    },
};

/// A shape is removed and added again while its first add is being committed. A clean-up after that commit,
/// entry by entry, would take the key from the new shape.
#[test]
fn c3_a_shape_added_again_during_its_first_commit_keeps_its_key() {
    explore(|| {
        let (store, _, memory) = manual();
        add(&store, "h1", 1);
        thread::scope(|scope| {
            scope.spawn(|| store.flush_once().expect("flush"));
            scope.spawn(|| {
                store.remove("h1", Wait::No).expect("live");
                add(&store, "h2", 1);
                assert_key_is_held(&store);
            });
            let states = [Some("h1".to_owned()), None, Some("h2".to_owned())];
            scope.spawn({
                let (store, states) = (&store, states.clone());
                move || see_in_order(&states, || holder(store, 1))
            });
        });
        assert_key_is_held(&store);
        store.flush_once().expect("flush");
        assert_key_is_held(&store);
        assert_eq!((handles(&*memory), handles(&store)), (vec!["h2".into()], vec!["h2".into()]));
    });
}

fn assert_key_is_held(store: &Store) {
    let refused = store.add(shape("h3", 1), Wait::No).expect_err("the key is live");
    assert!(matches!(refused.refusal(), Some(Refusal::DuplicateKey { held_by, .. }) if held_by == "h2"));
    assert_eq!(holder(store, 1).as_deref(), Some("h2"));
}

/// C1: relation, list and count of a shape, while it is added, committed and removed.
#[test]
fn c1_every_index_follows_across_flushes() {
    explore(|| {
        let (store, _, _) = manual();
        let list = |handles: &[&str]| handles.iter().map(|handle| (*handle).to_owned()).collect::<Vec<_>>();
        thread::scope(|scope| {
            scope.spawn(|| {
                add(&store, "a", 1);
                store.remove("a", Wait::No).expect("live");
                add(&store, "b", 1);
                add(&store, "c", 2);
            });
            scope.spawn(|| {
                for _ in 0..2 {
                    store.flush_once().expect("flush");
                }
            });
            scope.spawn(|| {
                let states = [list(&[]), list(&["a"]), list(&[]), list(&["b"]), list(&["b", "c"])];
                match choose(3) {
                    0 => see_in_order(&states, || readers(&store)),
                    1 => see_in_order(&states, || handles(&store)),
                    _ => see_in_order(&[0, 1, 0, 1, 2], || store.counts().expect("memory").total),
                }
            });
        });
    });
}

/// When the filter of a dropped generation is cleared, changes accepted during the flush must stay in theirs.
#[test]
fn c1_a_change_accepted_during_a_flush_stays_visible() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    store.flush_once().expect("flush");
                }
            });
            scope.spawn(|| {
                for (handle, key) in [("b", 2), ("c", 3)] {
                    add(&store, handle, key);
                    for _ in 0..2 {
                        assert!(store.has_handle(handle).expect("memory"));
                        assert_eq!(holder(&store, key).as_deref(), Some(handle));
                    }
                }
                store.remove("a", Wait::No).expect("live");
                assert!(!store.has_handle("a").expect("memory"));
            });
        });
        assert_eq!(handles(&store), ["b", "c"]);
    });
}

/// A snapshot only advances, whichever layer holds the mark.
#[test]
fn c1_a_snapshot_only_advances_across_flushes() {
    explore(|| {
        let (store, _, memory) = manual();
        add(&store, "h", 1);
        let state = |store: &Store| store.snapshot_state("h").expect("memory").expect("live");
        thread::scope(|scope| {
            scope.spawn(|| {
                store.mark_snapshot_started("h", Wait::No).expect("live");
                assert!(state(&store) >= SnapshotState::Started);
                store.mark_snapshot_complete("h", Wait::No).expect("live");
                assert_eq!(state(&store), SnapshotState::Complete);
            });
            scope.spawn(|| {
                for _ in 0..2 {
                    store.flush_once().expect("flush");
                }
            });
            scope.spawn(|| {
                let states = [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete];
                see_in_order(&states, || state(&store));
            });
        });
        store.flush_once().expect("flush");
        assert_eq!(memory.snapshot_state("h").expect("memory"), Some(SnapshotState::Complete));
    });
}

/// A touch that has returned counts, even while the shape moves from the overlay to the store below.
#[test]
fn c1_no_touch_is_lost_between_overlay_and_store() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "h", 1);
        add(&store, "older", 2);
        let at = Timestamp::from_micros(7);
        thread::scope(|scope| {
            scope.spawn(|| store.flush_once().expect("flush"));
            scope.spawn(|| {
                assert!(store.touch("h", at).expect("memory"));
                let found = store.lru(1).expect("memory").shapes;
                let found: Vec<_> = found.iter().map(|(handle, at)| (handle.as_str(), *at)).collect();
                assert_eq!(found, [("h", at)]);
            });
        });
    });
}

/// The least recently used shape is pending when the read begins, and the flush that drops it may end during
/// the read below.
#[test]
fn c1_the_least_used_shape_is_not_missed_during_flushes() {
    explore(|| {
        let (store, _, _) = if choose(2) == 0 { manual() } else { open(threaded(1)) };
        let touch = |handle, at| {
            assert!(store.touch(handle, Timestamp::from_micros(at)).expect("memory"));
        };
        let lru = |n| {
            let found = store.lru(n).expect("memory").shapes.into_iter();
            found.map(|(handle, at)| (handle.to_string(), at.as_micros())).collect::<Vec<_>>()
        };
        let [first, later, latest] = [("a", 5), ("b", 10), ("c", 20)].map(|(of, at)| (of.to_owned(), at));
        add(&store, "b", 2);
        touch("b", 10);
        store.flush_once().expect("flush");
        thread::scope(|scope| {
            scope.spawn(|| {
                add(&store, "a", 1);
                touch("a", 5);
                for _ in 0..2 {
                    assert_eq!(lru(1), std::slice::from_ref(&first));
                }
                store.remove("a", Wait::No).expect("live");
                add(&store, "c", 3);
                touch("c", 20);
                assert_eq!(lru(2), [later.clone(), latest.clone()]);
            });
            scope.spawn(|| {
                for _ in 0..2 {
                    store.flush_once().expect("flush");
                }
            });
            scope.spawn(|| {
                let states = [vec![later.clone()], vec![first.clone()], vec![later.clone()]];
                see_in_order(&states, || lru(1));
            });
        });
    });
}

/// C2: of callers that race for one key during a flush, one adds the shape.
#[test]
fn c2_racing_get_or_add_adds_one_shape() {
    explore(|| {
        let (store, _, memory) = open(threaded(1));
        let outcomes = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for handle in ["a", "b", "c"] {
                let (store, outcomes) = (&store, &outcomes);
                scope.spawn(move || {
                    let found = store.get_or_add(&shape(handle, 1), Wait::No).expect("below the bound");
                    assert_eq!(holder(store, 1).as_deref(), Some(found.handle.as_str()));
                    // A caller that found the shape can wait for it like the one that added it.
                    found.receipt.passive().wait_durable(NEVER).expect("the thread flushes");
                    let written = holder(store.inner().inner().committed(), 1);
                    assert_eq!(written.as_deref(), Some(found.handle.as_str()));
                    outcomes.lock().expect("no panic").push((found.handle, found.added));
                });
            }
        });
        let outcomes = outcomes.into_inner().expect("no panic");
        assert_eq!(outcomes.iter().filter(|(_, added)| *added).count(), 1);
        assert!(outcomes.iter().all(|(handle, _)| *handle == outcomes[0].0));
        assert_eq!(handles(memory.committed()).len(), 1);
        assert!(store.close(NEVER).is_complete());
    });
}
