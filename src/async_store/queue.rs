use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use shape_meta_core::{Error, ErrorKind, Result};

use super::pool::Pool;

type Call = Box<dyn FnOnce() + Send>;

/// The calls of one store that wait for a thread: a bounded channel, and the number of rounds that the queue
/// has in its pool.
pub(super) struct CallQueue {
    pool: Arc<Pool>,
    /// How many rounds the queue has at most: how many of its calls run at the same time.
    max_rounds: usize,
    sender: flume::Sender<Call>,
    receiver: flume::Receiver<Call>,
    /// The rounds that are due or running. Taken before the lock of the pool, and not held across a call.
    rounds: Mutex<usize>,
}

impl CallQueue {
    pub(super) fn new(pool: &Arc<Pool>, max_rounds: usize) -> Arc<Self> {
        let (sender, receiver) = flume::bounded(pool.options.queue_per_store);
        Arc::new(Self { pool: Arc::clone(pool), max_rounds, sender, receiver, rounds: Mutex::new(0) })
    }

    /// Runs a call on a thread of the pool. The future does nothing until it is polled. If it is dropped
    /// before a thread has taken the call, the call is not made; later, it is made and its result is dropped.
    ///
    /// # Errors
    ///
    /// `Io` if no thread can be started: nothing was done. `Panicked` if the call panicked.
    pub(super) fn run<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        self: &Arc<Self>,
        call: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F> {
        let queue = Arc::clone(self);
        async move {
            let (answer, answered) = flume::bounded(1);
            let call = Box::new(move || {
                if !answer.is_disconnected() {
                    // The caller may have dropped its future meanwhile.
                    let _ = answer.send(call());
                }
            });
            queue.push(call).await?;
            answered.recv_async().await.map_err(|_| panicked())
        }
    }

    /// Waits until the queue has room, and appends the call.
    pub(super) async fn push(self: &Arc<Self>, call: Call) -> Result<()> {
        // It owns the receiver.
        let _ = self.sender.send_async(call).await;
        let mut rounds = self.rounds();
        if *rounds < self.max_rounds {
            if let Err(error) = self.pool.add_round(Arc::clone(self)) {
                if *rounds == 0 {
                    // They would wait for a thread, and keep the store open.
                    drop(self.receiver.drain());
                }
                return Err(no_thread(error));
            }
            *rounds += 1;
        }
        Ok(())
    }

    /// Runs the next call, in a round. Returns whether the queue keeps the round, because more calls wait.
    pub(super) fn run_one(&self) -> bool {
        if let Ok(call) = self.receiver.try_recv() {
            // The answer is dropped, which its future reports.
            let _ = catch_unwind(AssertUnwindSafe(call));
        }
        // Under the lock under which a call that was appended looks for a round.
        let mut rounds = self.rounds();
        let has_more = !self.receiver.is_empty();
        if !has_more {
            *rounds -= 1;
        }
        has_more
    }

    fn rounds(&self) -> std::sync::MutexGuard<'_, usize> {
        // Each change is a single step.
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn panicked() -> Error {
    let message = "a call panicked on the thread that ran it for a future; what it has done by then holds; \
                   read the shape to find out";
    Error::new(ErrorKind::Panicked, message)
}

fn no_thread(error: std::io::Error) -> Error {
    let message = format!(
        "the thread for the blocking call of a future could not be started: {error}; nothing was done; try again"
    );
    Error::new(ErrorKind::Io, message).with_source(error)
}
