//! A client that acts when it is due, not when it is done with what came before (an open loop).
//!
//! A client in a closed loop waits for a slow answer and asks less in the meantime, so that its latencies leave
//! out those who would have come then: coordinated omission. Here an operation counts from the moment at which
//! it was due, so one slow answer makes all that were due meanwhile slow, as clients would see it.

use std::{
    hint, thread,
    time::{Duration, Instant},
};

use crate::{Result, latency::Latencies};

/// Beyond this a client sleeps first; it then spins, since a sleep ends late.
const SPIN: Duration = Duration::from_micros(200);

/// What a paced client saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paced {
    /// From when each operation was due until it had ended: what a client notices.
    pub(crate) due: Latencies,
    /// From when each had begun: what the operation took itself.
    pub(crate) own: Latencies,
}

/// Does `operation` at this rate, so many times a second, for so long.
pub(crate) fn paced(
    rate: u64,
    duration: Duration,
    mut operation: impl FnMut(u64) -> Result,
) -> Result<Paced> {
    let mut paced = Paced::default();
    let times = (rate as f64 * duration.as_secs_f64()) as u64;
    let start = Instant::now();
    for time in 0..times {
        let due = start + Duration::from_nanos(time * 1_000_000_000 / rate);
        wait(due);
        let begun = Instant::now();
        operation(time)?;
        let ended = Instant::now();
        paced.due.record(ended - due);
        paced.own.record(ended - begun);
    }
    Ok(paced)
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
    fn one_slow_answer_makes_those_slow_that_were_due_meanwhile() {
        let slow = Duration::from_millis(20);
        let paced = paced(10_000, Duration::from_millis(40), |time| {
            let begun = Instant::now();
            while time == 0 && begun.elapsed() < slow {
                hint::spin_loop();
            }
            Ok(())
        });
        let paced = paced.expect("it cannot fail");
        assert_eq!(paced.due.len(), 400);
        // Half of all were due while the first was under way; a closed loop would show one slow in 400.
        assert!(paced.due.at(0.75) > 1_000.0, "{}", paced.due.at(0.75));
        assert!(paced.own.at(0.5) < 1_000.0, "{}", paced.own.at(0.5));
    }
}
