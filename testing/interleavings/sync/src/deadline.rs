use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};

/// A deadline that is further away than this never passes.
pub const FAR: Duration = Duration::from_secs(600);

/// Whether a deadline may pass at any moment.
pub fn is_near(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()) < FAR
}

/// Returns how often a wait with a near deadline checks again, with other threads running in between, before
/// the deadline passes.
pub fn attempts_before() -> usize {
    thread_rng().gen_range(0..4)
}
