//! Directed histories across the boundary of a flush, with readers that must see them in order.

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

/// The case to beat: a shape is removed and made anew while its add is being committed. A clean-up after
/// that commit, entry by entry, would take the key from the new shape.
#[test]
fn c3_a_shape_made_anew_while_its_first_add_commits_keeps_its_key() {
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

/// C1: handle, relation, list and count of one shape, while it comes, is written and goes.
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

/// The filter by which readers pass the lock: it must go on to know what was accepted during a flush, when it
/// forgets what that flush has written.
#[test]
fn c1_what_is_accepted_during_a_flush_stays_visible() {
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

/// The state of a snapshot moves one way, wherever the mark stands at the moment.
#[test]
fn c1_marks_move_one_way_across_flushes() {
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

/// A touch that has returned counts, also while the shape moves from the overlay to the store below.
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
                let stalest = store.lru(1).expect("memory").shapes;
                let stalest: Vec<_> = stalest.iter().map(|(handle, at)| (handle.as_str(), *at)).collect();
                assert_eq!(stalest, [("h", at)]);
            });
        });
    });
}

/// C2: of many that ask for one key at once, while a flush runs, one makes the shape.
#[test]
fn c2_racing_get_or_add_makes_one_shape() {
    explore(|| {
        let (store, _, memory) = open(threaded(1));
        let made = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for handle in ["a", "b", "c"] {
                let (store, made) = (&store, &made);
                scope.spawn(move || {
                    let found = store.get_or_add(&shape(handle, 1), Wait::No).expect("room");
                    assert_eq!(holder(store, 1).as_deref(), Some(found.handle.as_str()));
                    // Whoever found it may wait for it as well as the one who made it.
                    found.receipt.wait_durable(NEVER).expect("the thread flushes");
                    let written = holder(store.inner().inner().committed(), 1);
                    assert_eq!(written.as_deref(), Some(found.handle.as_str()));
                    made.lock().expect("nobody panicked").push((found.handle, found.added));
                });
            }
        });
        let made = made.into_inner().expect("nobody panicked");
        assert_eq!(made.iter().filter(|(_, added)| *added).count(), 1);
        assert!(made.iter().all(|(handle, _)| *handle == made[0].0));
        assert_eq!(handles(memory.committed()).len(), 1);
        assert!(store.close(NEVER).is_complete());
    });
}
