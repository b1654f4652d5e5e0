use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use shape_meta_core::Evictor;

use super::EvictorSchedule;
use crate::ShapeMeta;

/// One thread that steps the evictors of any number of stores. Dropping it stops the thread, after the step
/// in progress.
#[derive(Debug)]
pub struct EvictorThread {
    schedule: Arc<EvictorSchedule>,
    /// Wakes the thread. Dropped to stop it.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EvictorThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the operating system starts no thread.
    pub fn start() -> io::Result<Self> {
        let schedule = Arc::new(EvictorSchedule::default());
        let (wake, woken) = mpsc::sync_channel(1);
        let of_thread = Arc::clone(&schedule);
        let thread = thread::Builder::new().name("shape-meta-evictor".to_owned()).spawn(move || {
            loop {
                let woken = match of_thread.run_due(Instant::now()) {
                    Some(due) => woken.recv_timeout(due.saturating_duration_since(Instant::now())),
                    None => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                if woken == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        })?;
        Ok(Self { schedule, wake: Some(wake), thread: Some(thread) })
    }

    /// Steps this evictor of this store; see [`EvictorSchedule::watch`].
    pub fn watch(&self, store: &ShapeMeta, evictor: Arc<Evictor>, interval: Duration) {
        self.schedule.watch(store, evictor, interval);
        if let Some(wake) = &self.wake {
            // If it is full, the thread is about to look at the schedule. It has ended only after a panic of
            // an observer.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for EvictorThread {
    fn drop(&mut self) {
        self.wake.take();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic of an observer has been reported by its hook.
            let _ = thread.join();
        }
    }
}
