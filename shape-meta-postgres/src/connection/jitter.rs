use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Returns a random duration around this one, from three quarters to five quarters of it, so that many
/// processes do not act at the same moment.
pub(crate) fn jitter(around: Duration) -> Duration {
    // The keys of a hash table are random, and another one each time.
    let random = (RandomState::new().hash_one(0) % 1_024) as u32;
    around.saturating_mul(1_536 + random) / 2_048
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_within_a_quarter() {
        let around = Duration::from_secs(4);
        let all: Vec<_> = (0..100).map(|_| jitter(around)).collect();
        assert!(all.iter().all(|one| (Duration::from_secs(3)..=Duration::from_secs(5)).contains(one)));
        assert!(all.iter().any(|one| *one != all[0]));
    }
}
