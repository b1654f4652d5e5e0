use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies in nanoseconds, with a precision of three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// A distribution as pairs of a quantile and a latency in microseconds.
pub(crate) type Quantiles = Vec<Quantile>;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantile {
    pub(crate) quantile: f64,
    pub(crate) us: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are valid"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX / 2);
        self.0.record(nanoseconds).expect("the histogram resizes itself");
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// Returns a quantile in microseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Returns the maximum in microseconds.
    pub(crate) fn max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// Returns the quantiles for a chart. The tail ends where fewer than five latencies remain.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let shares = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999];
        let has_enough = |quantile: &f64| (1.0 - quantile) * self.len() as f64 >= 5.0;
        shares
            .into_iter()
            .filter(has_enough)
            .map(|quantile| Quantile { quantile, us: self.at(quantile) })
            .collect()
    }
}

impl FromIterator<Latencies> for Latencies {
    fn from_iter<I: IntoIterator<Item = Latencies>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), |mut sum, one| {
            sum.add(&one);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_ends_where_few_latencies_remain() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|us| latencies.record(Duration::from_micros(us)));
        let quantiles = latencies.quantiles();
        let last = quantiles.last().expect("it is not empty");
        assert_eq!(last.quantile, 0.995);
        assert!((last.us - 995.0).abs() < 1.0, "{last:?}");
        assert!((latencies.max() - 1_000.0).abs() < 1.0);
    }
}
