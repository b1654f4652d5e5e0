use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::memtable::{MAX_ENTERED, WriterQueue};

/// Starts a thread that enters and leaves, and returns when it waits.
fn wait_in(queue: &Arc<WriterQueue>) -> thread::JoinHandle<()> {
    let before = queue.queued();
    let waiting = Arc::clone(queue);
    let thread = thread::spawn(move || drop(waiting.enter()));
    while queue.queued() == before {
        thread::yield_now();
    }
    thread
}

/// As many threads as compete for the lock may do so for ever; each waiting one is admitted all the same.
#[test]
fn c14_a_waiting_mutation_is_admitted_next_to_those_that_compete() {
    let queue = Arc::new(WriterQueue::new());
    let mut entered: Vec<_> = (0..MAX_ENTERED).map(|_| queue.enter()).collect();
    let waiting = wait_in(&queue);
    let started_at = Instant::now();
    loop {
        drop(entered.pop());
        if queue.queued() == 0 {
            break;
        }
        assert!(started_at.elapsed() < Duration::from_secs(10), "it is not admitted");
        entered.push(queue.enter());
    }
    waiting.join().expect("it does not panic");
}

#[test]
fn c14_waiting_mutations_are_admitted_when_none_competes() {
    let queue = Arc::new(WriterQueue::new());
    let entered: Vec<_> = (0..MAX_ENTERED).map(|_| queue.enter()).collect();
    let waiting: Vec<_> = (0..5).map(|_| wait_in(&queue)).collect();
    drop(entered);
    for thread in waiting {
        thread.join().expect("it does not panic");
    }
    assert_eq!(queue.queued(), 0);
}
