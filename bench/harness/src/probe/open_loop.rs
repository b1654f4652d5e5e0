//! A client that starts its operations at fixed times, and not after the previous answer (an open loop).
//!
//! A client in a closed loop waits for a slow answer and sends fewer requests meanwhile. Its latencies omit
//! the requests that would have come then: coordinated omission. Here the response time counts from the time
//! at which the operation was due. So one slow answer also delays all operations that were due meanwhile, as
//! real clients would see it.

use std::{
    hint, thread,
    time::{Duration, Instant},
};

use crate::{error::Result, probe::latency::Latencies};

/// A client sleeps while more than this time is left, and then spins, because a sleep ends late.
const SPIN: Duration = Duration::from_micros(200);

/// The latencies of an open-loop client.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenLoop {
    /// The response times: from when each operation was due until its end.
    pub(crate) response: Latencies,
    /// The service times: from the start of each operation until its end.
    pub(crate) service: Latencies,
}

/// Runs `operation` at this rate per second, for this time.
pub(crate) fn open_loop(
    rate: u64,
    duration: Duration,
    mut operation: impl FnMut(u64) -> Result,
) -> Result<OpenLoop> {
    let mut latencies = OpenLoop::default();
    let times = (rate as f64 * duration.as_secs_f64()) as u64;
    let begin = Instant::now();
    for time in 0..times {
        let due = begin + Duration::from_nanos(time * 1_000_000_000 / rate);
        wait(due);
        let start = Instant::now();
        operation(time)?;
        let ended = Instant::now();
        latencies.response.record(ended - due);
        latencies.service.record(ended - start);
    }
    Ok(latencies)
}

fn wait(until: Instant) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match left.checked_sub(SPIN) {
            Some(long) if !long.is_zero() => thread::sleep(long),
            _ => hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_answer_delays_the_operations_due_meanwhile() {
        let slow = Duration::from_millis(20);
        let latencies = open_loop(10_000, Duration::from_millis(40), |time| {
            let start = Instant::now();
            while time == 0 && start.elapsed() < slow {
                hint::spin_loop();
            }
            Ok(())
        });
        let latencies = latencies.expect("the operation does not fail");
        assert_eq!(latencies.response.len(), 400);
        // Half of all operations were due during the first. A closed loop would show one slow operation in
        // 400.
        assert!(latencies.response.at(0.75) > 1_000.0, "{}", latencies.response.at(0.75));
        assert!(latencies.service.at(0.5) < 1_000.0, "{}", latencies.service.at(0.5));
    }
}
