use std::time::Duration;

use super::part::{Left, Part};

/// The delays after a failure. The first one doubles with each failure in a row, up to the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// The delays while nothing is left but tasks that wait for a flush.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
/// How many failures in a row the delay after one grows with that leaves a single handle: about a second. The
/// handles after it are others.
const LEFT_IN_A_ROW: u32 = 4;
/// How long new tasks wait for another attempt at those that have failed.
const NEWS_DELAY: Duration = Duration::from_secs(5);

/// How often the cleaner is called.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The number of failed attempts since a pass over all tasks had none.
    failures: u32,
    /// The number of failed attempts since the last successful one, without those that only halve a call.
    in_a_row: u32,
    /// The number of passes in a row that have left tasks.
    passes: u32,
    left: Left,
}

/// What a failed part means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The same handles are tried again in smaller calls, to find those that fail.
    Narrowed,
    /// A single handle fails, and is left to the next pass.
    Left,
    /// The same is tried again.
    Same,
}

/// A rest between two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) longest: Duration,
    /// New tasks end the rest after this time.
    pub(super) with_news: Duration,
}

impl Pace {
    pub(super) fn succeeded(&mut self, part: &Part) {
        self.in_a_row = 0;
        self.left = match part {
            Part::Left(left) => *left,
            Part::More | Part::Swept(_) | Part::Done => Left::Nothing,
        };
        match part {
            Part::Left(_) => self.passes = self.passes.saturating_add(1),
            Part::Done => *self = Self::default(),
            Part::More | Part::Swept(_) => {}
        }
        if matches!(part, Part::Left(Left::Pending)) {
            self.failures = 0;
        }
    }

    pub(super) fn failed(&mut self, failed: Failed) {
        self.failures = self.failures.saturating_add(1);
        self.in_a_row = match failed {
            Failed::Narrowed => self.in_a_row.max(1),
            Failed::Left => self.in_a_row.saturating_add(1).min(LEFT_IN_A_ROW),
            Failed::Same => self.in_a_row.saturating_add(1),
        };
    }

    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    /// Returns the delay after a failure.
    pub(super) fn retry_delay(self) -> Duration {
        delay(RETRY, self.in_a_row)
    }

    /// Returns the rest after a pass; `None` if nothing is left to do.
    pub(super) fn rest(self) -> Option<Rest> {
        match self.left {
            Left::Nothing => None,
            Left::Pending => Some(Rest { longest: delay(POLL, self.passes), with_news: Duration::ZERO }),
            Left::Failed => {
                let longest = delay(RETRY, self.passes);
                Some(Rest { longest, with_news: longest.min(NEWS_DELAY) })
            }
        }
    }
}

/// Returns the delay after this many attempts in a row.
fn delay((first, longest): (Duration, Duration), attempts: u32) -> Duration {
    first.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_delays_grow_with_failures_and_are_bounded() {
        let mut pace = Pace::default();
        let mut delays = [0; 14];
        for delay in &mut delays {
            pace.failed(Failed::Same);
            *delay = pace.retry_delay().as_millis();
        }
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[10..], [60_000; 4]);
        pace.succeeded(&Part::More);
        assert_eq!(pace.failures(), 14, "the others may still fail");
        pace.failed(Failed::Same);
        assert_eq!(pace.retry_delay().as_millis(), 100, "a success begins anew");
        pace.succeeded(&Part::Done);
        assert_eq!(pace.failures(), 0);
    }

    #[test]
    fn c12_halving_a_call_is_not_slowed_down() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.failed(Failed::Narrowed);
            assert_eq!(pace.retry_delay().as_millis(), 100);
        }
        assert_eq!(pace.failures(), 10);
    }

    #[test]
    fn c12_a_block_of_handles_that_fail_is_passed_soon() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.failed(Failed::Left);
            assert!(pace.retry_delay() < Duration::from_secs(1));
        }
        assert_eq!(pace.failures(), 100);
    }

    #[test]
    fn c12_failed_handles_delay_new_ones_a_little() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(), None);
        for _ in 0..20 {
            pace.succeeded(&Part::Left(Left::Failed));
        }
        let rest = pace.rest().expect("something is left");
        assert_eq!((rest.longest.as_secs(), rest.with_news.as_secs()), (60, 5));
        pace.succeeded(&Part::Left(Left::Pending));
        let rest = pace.rest().expect("something is left");
        assert_eq!((rest.longest.as_secs(), rest.with_news.as_secs()), (5, 0));
    }
}
