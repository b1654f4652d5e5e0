//! A store below that fails, and may have committed all the same.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::SeqCst,
};

use shape_meta_cache::CacheOptions;
use shape_meta_core::{ApplyChanges, ErrorKind, ReadShapes, ReadShapesExt, Seq};

use crate::support::{Probe, add, batch, cached, handle, io_error, record};

#[test]
fn what_was_committed_is_shown_though_the_store_failed() {
    let cached = cached(Probe::default(), CacheOptions::default());
    let change = batch(1, [add(&record(1, 1))]);
    cached.inner().after_next_commit(|| Err(io_error()));
    assert_eq!(cached.apply(&change).unwrap_err().kind(), ErrorKind::Io);
    assert!(cached.has_handle(&handle(1)).unwrap());
    assert_eq!(cached.last_seq().unwrap(), Seq::new(1));
    cached.apply(&change).unwrap();
    assert_eq!(cached.counts().unwrap().total, 1);
}

#[test]
fn c9_reads_go_on_while_nobody_knows_and_a_retry_finds_out() {
    let cached = cached(Probe::default(), CacheOptions::default());
    cached.apply(&batch(1, [add(&record(1, 1))])).unwrap();
    let change = batch(2, [add(&record(2, 2))]);
    cached.inner().after_next_commit(|| Err(io_error()));
    cached.inner().last_seq_fails.store(true, SeqCst);
    assert!(cached.apply(&change).is_err());
    assert!(cached.apply(&change).is_err(), "the store still does not say how far it has come");
    assert!(cached.has_handle(&handle(1)).unwrap());
    assert_eq!(cached.last_seq().unwrap(), Seq::new(1));

    cached.inner().last_seq_fails.store(false, SeqCst);
    assert_eq!(cached.apply(&change).unwrap_err().kind(), ErrorKind::Interrupted);
    cached.apply(&change).unwrap();
    assert!(cached.has_handle(&handle(2)).unwrap());
    assert_eq!(cached.counts().unwrap().total, 2);
}

#[test]
fn c9_a_change_is_not_taken_for_another_at_its_place() {
    let cached = cached(Probe::default(), CacheOptions::default());
    cached.inner().after_next_commit(|| Err(io_error()));
    cached.inner().last_seq_fails.store(true, SeqCst);
    assert!(cached.apply(&batch(1, [add(&record(1, 1))])).is_err());
    cached.inner().last_seq_fails.store(false, SeqCst);

    // A direct store asks the mirror for the last place and does not know that the next one is taken.
    let other = cached.last_seq().unwrap().next().get();
    assert!(cached.apply(&batch(other, [add(&record(2, other))])).is_err(), "it must not pass for done");
    let other = cached.last_seq().unwrap().next().get();
    cached.apply(&batch(other, [add(&record(2, other))])).unwrap();
    assert!(cached.has_handle(&handle(1)).unwrap() && cached.has_handle(&handle(2)).unwrap());
}

#[test]
fn c9_what_was_not_committed_is_not_shown() {
    let cached = cached(Probe::default(), CacheOptions::default());
    cached.inner().last_seq_fails.store(true, SeqCst);
    cached.inner().after_next_commit(|| panic!("the store below panics after its commit"));
    let first = batch(1, [add(&record(1, 1))]);
    assert!(catch_unwind(AssertUnwindSafe(|| cached.apply(&first))).is_err());
    assert!(!cached.has_handle(&handle(1)).unwrap(), "nobody knows yet");
    assert_eq!(cached.scan().unwrap().count(), 1, "and readers of the disk do not wait for ever");
    cached.inner().last_seq_fails.store(false, SeqCst);
    assert!(cached.apply(&first).is_err());
    cached.apply(&first).unwrap();
    assert!(cached.has_handle(&handle(1)).unwrap());
}
