use std::{fmt, time::Duration};

/// A histogram of durations with a fixed number of buckets, four per power of two, so that each bucket is
/// about a fifth longer than the one before.
///
/// Durations below 64 ns and above a minute are counted in the first and in the last bucket.
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies {
    counts: [u64; BUCKETS],
}

/// The shortest bucket begins at 2^6 = 64 ns.
const FIRST: u32 = 6;
/// Each octave has 2^2 = 4 buckets.
const FINE: u32 = 2;
const OCTAVES: usize = 30;
const BUCKETS: usize = OCTAVES << FINE;

impl Latencies {
    /// Records a duration.
    pub fn record(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
    }

    /// Returns the number of recorded durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Iterates over the buckets that are not empty, the shortest first: the middle of the bucket, and its
    /// count.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(at, count)| (middle(at), *count))
    }

    /// Returns the quantile `q`, from 0 to 1, to within 13%: 0.5 is the median. Zero if nothing was recorded.
    pub fn quantile(&self, q: f64) -> Duration {
        let wanted = (self.count() as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = |(_, count): &(Duration, u64)| {
            seen += count;
            seen >= wanted
        };
        self.iter().find(reached).map_or(Duration::ZERO, |(took, _)| took)
    }
}

/// The two bits after the leading one select the quarter of the octave.
fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1 << FIRST);
    let octave = nanos.ilog2();
    let quarter = (nanos >> (octave - FINE)) & ((1 << FINE) - 1);
    let bucket = ((octave - FIRST) << FINE) as usize + quarter as usize;
    bucket.min(BUCKETS - 1)
}

fn middle(bucket: usize) -> Duration {
    let (octave, quarter) = (FIRST + (bucket >> FINE) as u32, bucket as u64 & ((1 << FINE) - 1));
    let width = 1 << (octave - FINE);
    Duration::from_nanos((1 << octave) + quarter * width + width / 2)
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth_of_the_recorded_duration() {
        for nanos in [64, 79, 80, 1_000, 1_023, 1_024, 999_999, 1_000_000_007, 59_000_000_000] {
            let took = Duration::from_nanos(nanos);
            let mut latencies = Latencies::default();
            latencies.record(took);
            let found = latencies.quantile(0.5);
            let off = (found.as_secs_f64() - took.as_secs_f64()).abs() / took.as_secs_f64();
            assert!(off <= 0.126, "{took:?}: {found:?}");
        }
    }

    #[test]
    fn four_buckets_double_a_duration() {
        let nanos = [64, 79, 80, 95, 96, 111, 112, 127, 128, 159, 160];
        assert_eq!(nanos.map(|nanos| bucket(Duration::from_nanos(nanos))), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        let middles = [72, 88, 104, 120, 144, 176].map(Duration::from_nanos);
        assert_eq!(std::array::from_fn(middle), middles);
        assert!((0..BUCKETS).all(|at| bucket(middle(at)) == at));
    }

    #[test]
    fn the_shortest_and_the_longest_duration_have_a_bucket() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert_eq!(latencies.count(), 2);
        let found: Vec<_> = latencies.iter().collect();
        assert_eq!(found[0], (Duration::from_nanos(72), 1));
        assert!(found[1].0 > Duration::from_secs(60), "{found:?}");
    }

    #[test]
    fn quantiles_depend_on_the_number_of_durations() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        for _ in 0..99 {
            latencies.record(Duration::from_micros(1));
        }
        latencies.record(Duration::from_millis(1));
        assert!(latencies.quantile(0.99) < Duration::from_micros(2));
        assert!(latencies.quantile(1.0) > Duration::from_micros(900));
    }
}
