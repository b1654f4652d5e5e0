use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use shape_meta::{ShapeMeta, SqliteOptions};
use shape_meta_faults::{Disk, Hang, VFS};
use shape_meta_harness::compositions::{Composition, TIMEOUT, directory, sqlite};
use tempfile::TempDir;

/// How often a task of the executor runs, at least, while the disk hangs.
const TICKS: u64 = 1_000;

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A directory on a disk that can hang.
pub(super) struct OnDisk {
    pub(super) disk: Disk,
    pub(super) directory: TempDir,
}

impl OnDisk {
    pub(super) fn new() -> Self {
        let directory = directory();
        Self { disk: Disk::mount(directory.path()).expect("it is there"), directory }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn options() -> SqliteOptions {
        sqlite().vfs(VFS)
    }

    pub(super) fn open(&self, composition: Composition) -> ShapeMeta {
        let builder = composition.builder().sqlite(Self::options());
        builder.open(self.path()).expect("the database opens")
    }

    /// Runs this future on an executor with one thread while the disk hangs. Another task of the executor has
    /// to run while a call of the disk hangs, unless the future needs none. Then the disk works again, and
    /// the output is returned, with whether a call hung.
    #[track_caller]
    pub(super) fn run<T: Send + 'static>(
        &self,
        name: &str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (T, bool) {
        let hang = self.disk.hang();
        let executor = Executor::start(future);
        let begun = Instant::now();
        let mut reached = false;
        while !reached && !executor.is_finished() && begun.elapsed() < TIMEOUT / 4 {
            reached = hang.wait_until_reached(Duration::from_millis(1));
        }
        let has_ticked = executor.has_ticked();
        drop(hang);
        assert!(has_ticked, "{name} blocks the executor while the disk hangs");
        (executor.join(), reached)
    }
}

/// An executor with one thread, which runs a future and a ticker.
pub(super) struct Executor<T> {
    ticks: Arc<AtomicU64>,
    thread: thread::JoinHandle<T>,
}

impl<T: Send + 'static> Executor<T> {
    pub(super) fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ticks);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let task = tokio::spawn(future);
                // The task is polled for the first time between the first tick and the second one.
                while !task.is_finished() || counted.load(Ordering::Relaxed) < TICKS {
                    counted.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                task.await.expect("no panic")
            })
        });
        Self { ticks, thread }
    }

    /// Waits for the ticks. Returns whether they came.
    pub(super) fn has_ticked(&self) -> bool {
        let begun = Instant::now();
        let wanted = self.ticks.load(Ordering::Relaxed) + TICKS;
        while self.ticks.load(Ordering::Relaxed) < wanted && !self.thread.is_finished() {
            if begun.elapsed() > TIMEOUT / 4 {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub(super) fn join(self) -> T {
        self.thread.join().expect("no panic")
    }
}

/// Waits until a call of the disk hangs.
#[track_caller]
pub(super) fn assert_reached(hang: &Hang) {
    assert!(hang.wait_until_reached(TIMEOUT), "no call reached the disk");
}
