use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};

/// Deadlines that are further away than this never pass.
pub const FAR: Duration = Duration::from_secs(600);

/// Whether a deadline may pass.
pub fn is_near(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()) < FAR
}

/// How often a wait with a near deadline looks again, with other threads running in between, before its
/// time is over.
pub fn attempts_before() -> usize {
    thread_rng().gen_range(0..4)
}
