//! When the buffer makes the store below save last-read times.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, Error, ErrorKind, Observer, Span, StoreControl, SweepProgress,
    conformance::{FailingStore, Faults, Side},
};

use crate::support::{Failing, LONG_TIMEOUT, add};

/// Receives the outcome of each save: the error, if it failed.
type Saved = mpsc::Receiver<Option<ErrorKind>>;

/// Sends the outcome of each save.
struct Saves(Mutex<mpsc::Sender<Option<ErrorKind>>>);

struct Save(mpsc::Sender<Option<ErrorKind>>);

impl Observer for Saves {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        let sender = self.0.lock().expect("no panic").clone();
        matches!(activity, Activity::SaveReads).then(|| Box::new(Save(sender)) as _)
    }
}

impl Span for Save {
    fn end(self: Box<Self>, error: Option<&Error>) {
        // The test may have ended.
        let _ = self.0.send(error.map(Error::kind));
    }
}

fn over(options: BufferOptions) -> (Buffered<Failing>, Faults, Saved) {
    let faults = Faults::default();
    let (sender, saved) = mpsc::channel();
    let inner = FailingStore::with(Arc::default(), faults.clone());
    let store = Buffered::new(inner, options, Arc::new(Saves(Mutex::new(sender))));
    (store.expect("nothing fails yet"), faults, saved)
}

#[test]
fn c9_a_failed_save_is_reported_and_has_no_other_effect() {
    let (store, faults, saved) = over(BufferOptions::default().background_flush(false));
    assert_eq!(store.save_reads().expect("nothing fails yet"), SweepProgress::default());
    faults.fail_saves(1, ErrorKind::StorageFull);
    assert_eq!(store.save_reads().expect_err("the disk is full").kind(), ErrorKind::StorageFull);
    store.save_reads().expect("the disk has space again");
    assert_eq!(saved.try_iter().collect::<Vec<_>>(), [None, Some(ErrorKind::StorageFull), None]);
    add(&store, "h", 1);
    store.flush_once().expect("flush");
    assert_eq!(saved.try_iter().count(), 0, "a flush does not save them");
}

#[test]
fn c10_close_saves_them_unless_writing_has_stopped() {
    for is_fenced in [false, true] {
        let (store, faults, saved) = over(BufferOptions::default().background_flush(false));
        add(&store, "h", 1);
        if is_fenced {
            faults.fail_applies(1, ErrorKind::Fenced, Side::Before);
            store.flush_once().expect_err("fenced");
        }
        assert_eq!(store.close(LONG_TIMEOUT).is_complete(), !is_fenced);
        assert_eq!(saved.try_iter().count(), usize::from(!is_fenced));
    }
}

#[test]
fn the_flusher_saves_them_regularly_even_with_nothing_to_flush() {
    let (_store, faults, saved) =
        over(BufferOptions::default().last_read_save_interval(Duration::from_millis(1)));
    faults.fail_saves(1, ErrorKind::Busy);
    let seen: Vec<_> = (0..50).map(|_| saved.recv_timeout(LONG_TIMEOUT).expect("the next save")).collect();
    assert!(seen.iter().filter(|error| **error == Some(ErrorKind::Busy)).count() <= 1, "{seen:?}");
}

#[test]
fn with_the_longest_interval_only_close_saves_them() {
    let options = BufferOptions::default().last_read_save_interval(Duration::MAX);
    let (store, _, saved) = over(options.flush_interval(Duration::ZERO));
    add(&store, "h", 1);
    store.flush(LONG_TIMEOUT).expect("flush");
    assert_eq!(saved.try_iter().count(), 0);
    store.close(LONG_TIMEOUT);
    assert_eq!(saved.try_iter().count(), 1);
}
