//! Pause: no flush begins after it has returned, and held-up changes are flushed when it ends.

use std::time::Duration;

use shape_meta_core::StoreControl;
use shuttle::thread;

use crate::{
    explore::explore,
    support::{add, open, threaded},
};

#[test]
fn nothing_is_written_between_pause_and_resume() {
    explore(|| {
        let (store, faults, _) = open(threaded(1));
        add(&store, "a", 1);
        let attempts = || faults.attempts();
        thread::scope(|scope| {
            scope.spawn(|| {
                store.pause();
                let before = attempts();
                let receipt = add(&store, "b", 2);
                store.request_flush();
                thread::yield_now();
                assert_eq!(attempts(), before, "a flush began during the pause");
                assert!(!receipt.is_durable());
                store.resume();
                receipt.passive().wait_durable(Duration::MAX).expect("held-up changes are flushed at once");
            });
            scope.spawn(|| drop(store.request_flush()));
        });
    });
}
