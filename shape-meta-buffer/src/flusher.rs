use std::{io, sync::Arc, time::Instant};

use shape_meta_core::{ApplyChanges, Signal};

use crate::{
    shared::Shared,
    sync::{
        Receiver, RecvTimeoutError,
        atomic::{AtomicBool, Ordering},
        thread::{Builder, JoinHandle},
    },
};

/// The thin thread around [`Shared::flush_if_due`] (I7).
pub(crate) struct Flusher {
    thread: JoinHandle<()>,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    stopped: AtomicBool,
    signal: Signal,
}

impl Flusher {
    pub(crate) fn start<S: ApplyChanges + 'static>(
        shared: Arc<Shared<S>>,
        mailbox: Receiver<()>,
    ) -> io::Result<Self> {
        let control = Arc::new(Control::default());
        let of_thread = Arc::clone(&control);
        let thread = Builder::new().name("shape-meta-flush".into()).spawn(move || {
            run(&shared, &mailbox, &of_thread);
            // The store below is closed before anyone is told that we are gone.
            drop(shared);
            of_thread.stopped.store(true, Ordering::Release);
            of_thread.signal.raise();
        })?;
        Ok(Self { thread, control })
    }

    /// Lets the thread end, and waits for it until the deadline. A thread that is stuck in the store below
    /// is left to itself: it ends when the store lets it go.
    pub(crate) fn stop(self, wake: impl FnOnce(), deadline: Instant) {
        self.control.stop.store(true, Ordering::Release);
        wake();
        while !self.control.stopped.load(Ordering::Acquire) {
            let waiter = self.control.signal.listen();
            if !self.control.stopped.load(Ordering::Acquire) && !waiter.wait(Some(deadline)) {
                return;
            }
        }
        // The thread has nothing left to do, and its panics were caught.
        let _ = self.thread.join();
    }
}

fn run<S: ApplyChanges>(shared: &Shared<S>, mailbox: &Receiver<()>, control: &Control) {
    let mut due = None;
    loop {
        let message = match due {
            Some(due) => mailbox.recv_deadline(due),
            None => mailbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if control.stop.load(Ordering::Acquire) || message == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        if message.is_ok()
            && !shared.is_requested()
            && let Some(delay) = shared.retry_delay()
        {
            // A mutation was accepted while a failed flush waits for its next attempt: no reason to hurry.
            // If it was not we who failed, but a caller of `flush_once`, the next attempt is ours all the same.
            let next = Instant::now() + delay;
            due = Some(due.map_or(next, |due| due.min(next)));
            continue;
        }
        due = shared.flush_if_due();
    }
}
