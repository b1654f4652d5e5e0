//! When last-read times are saved: the store below does it, and the buffer says when.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, Error, ErrorKind, Observer, Span, StoreControl, SweepProgress,
    conformance::{FailingStore, Faults, Side},
};

use crate::support::{Failing, PATIENT, add};

/// Told for each time that they were saved: the error, if there was one.
type Saved = mpsc::Receiver<Option<ErrorKind>>;

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
        // The test may have seen enough.
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
fn c9_a_failure_to_save_is_told_and_stops_nothing() {
    let (store, faults, saved) = over(BufferOptions::default().background_flush(false));
    assert_eq!(store.save_reads().expect("nothing fails yet"), SweepProgress::default());
    faults.fail_saves(1, ErrorKind::StorageFull);
    assert_eq!(store.save_reads().expect_err("it is full").kind(), ErrorKind::StorageFull);
    store.save_reads().expect("it is not any more");
    assert_eq!(saved.try_iter().collect::<Vec<_>>(), [None, Some(ErrorKind::StorageFull), None]);
    add(&store, "h", 1);
    store.flush_once().expect("flush");
    assert_eq!(saved.try_iter().count(), 0, "a flush is no reason to save them");
}

#[test]
fn c10_closing_saves_them_unless_writing_has_stopped() {
    for is_fenced in [false, true] {
        let (store, faults, saved) = over(BufferOptions::default().background_flush(false));
        add(&store, "h", 1);
        if is_fenced {
            faults.fail_applies(1, ErrorKind::Fenced, Side::Before);
            store.flush_once().expect_err("somebody else has it");
        }
        assert_eq!(store.close(PATIENT).is_complete(), !is_fenced);
        assert_eq!(saved.try_iter().count(), usize::from(!is_fenced));
    }
}

#[test]
fn the_flusher_saves_them_again_and_again_also_when_there_is_nothing_to_flush() {
    let (_store, faults, saved) =
        over(BufferOptions::default().last_read_save_interval(Duration::from_millis(1)));
    faults.fail_saves(1, ErrorKind::Busy);
    let seen: Vec<_> = (0..50).map(|_| saved.recv_timeout(PATIENT).expect("it goes on")).collect();
    assert!(seen.iter().filter(|error| **error == Some(ErrorKind::Busy)).count() <= 1, "{seen:?}");
}

#[test]
fn with_the_longest_interval_they_are_saved_by_closing_alone() {
    let options = BufferOptions::default().last_read_save_interval(Duration::MAX);
    let (store, _, saved) = over(options.flush_interval(Duration::ZERO));
    add(&store, "h", 1);
    store.flush(PATIENT).expect("flush");
    assert_eq!(saved.try_iter().count(), 0);
    store.close(PATIENT);
    assert_eq!(saved.try_iter().count(), 1);
}
