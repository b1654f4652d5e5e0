use std::{fmt, time::Duration};

/// How long things took, counted in steps of a fifth: what fits in a small table however many they are.
///
/// Durations below 64 ns and above a minute count as those.
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies {
    counts: [u64; STEPS],
}

/// The first step ends at 64 ns.
const FIRST: u32 = 6;
/// Four steps double a duration.
const FINE: u32 = 2;
const OCTAVES: usize = 30;
const STEPS: usize = OCTAVES << FINE;

impl Latencies {
    /// One more, which took so long.
    pub fn record(&mut self, took: Duration) {
        self.counts[step(took)] += 1;
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// A duration in the middle of each step, and how many were about so long; the shortest first.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(at, count)| (middle(at), *count))
    }

    /// About how long the longest of this part (from 0 to 1) of the shortest took: 0.5 for the median. Zero if
    /// there are none.
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = |(_, count): &(Duration, u64)| {
            seen += count;
            seen >= wanted
        };
        self.iter().find(reached).map_or(Duration::ZERO, |(took, _)| took)
    }
}

/// The highest two bits after the leading one say which quarter of its octave a duration is in.
fn step(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1 << FIRST);
    let octave = nanos.ilog2();
    let quarter = (nanos >> (octave - FINE)) & ((1 << FINE) - 1);
    let step = ((octave - FIRST) << FINE) as usize + quarter as usize;
    step.min(STEPS - 1)
}

fn middle(step: usize) -> Duration {
    let (octave, quarter) = (FIRST + (step >> FINE) as u32, step as u64 & ((1 << FINE) - 1));
    let width = 1 << (octave - FINE);
    Duration::from_nanos((1 << octave) + quarter * width + width / 2)
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [0; STEPS] }
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
    fn what_is_told_is_within_an_eighth_of_the_truth() {
        for nanos in [64, 79, 80, 1_000, 1_023, 1_024, 999_999, 1_000_000_007, 59_000_000_000] {
            let took = Duration::from_nanos(nanos);
            let mut latencies = Latencies::default();
            latencies.record(took);
            let told = latencies.quantile(0.5);
            let off = (told.as_secs_f64() - took.as_secs_f64()).abs() / took.as_secs_f64();
            assert!(off <= 0.126, "{took:?}: {told:?}");
        }
    }

    #[test]
    fn four_steps_double_a_duration() {
        let nanos = [64, 79, 80, 95, 96, 111, 112, 127, 128, 159, 160];
        assert_eq!(nanos.map(|nanos| step(Duration::from_nanos(nanos))), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        let middles = [72, 88, 104, 120, 144, 176].map(Duration::from_nanos);
        assert_eq!(std::array::from_fn(middle), middles);
        assert!((0..STEPS).all(|at| step(middle(at)) == at));
    }

    #[test]
    fn the_shortest_and_the_longest_have_a_place() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert_eq!(latencies.count(), 2);
        let told: Vec<_> = latencies.iter().collect();
        assert_eq!(told[0], (Duration::from_nanos(72), 1));
        assert!(told[1].0 > Duration::from_secs(60), "{told:?}");
    }

    #[test]
    fn quantiles_are_of_how_many_there_are() {
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
