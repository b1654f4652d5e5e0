//! Measures whether the executor stalls: a task that ought to run every millisecond.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_millis(1);

/// The longest gap between two ticks of a task, in microseconds.
pub static EXECUTOR_STALL: AtomicU64 = AtomicU64::new(0);
/// The same of a thread: what the machine itself delays.
pub static THREAD_STALL: AtomicU64 = AtomicU64::new(0);

/// Starts both tickers. They run until the process ends.
pub fn start() {
    tokio::spawn(async {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            last = record(&EXECUTOR_STALL, last);
        }
    });
    thread::spawn(|| {
        let mut last = Instant::now();
        loop {
            thread::sleep(PERIOD);
            last = record(&THREAD_STALL, last);
        }
    });
}

fn record(longest: &AtomicU64, last: Instant) -> Instant {
    let now = Instant::now();
    longest.fetch_max((now - last).saturating_sub(PERIOD).as_micros() as u64, Ordering::Relaxed);
    now
}
