use std::time::Instant;

/// The latencies of one kind of call, in nanoseconds.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// Adds the time since this moment.
    pub(crate) fn record(&mut self, since: Instant) {
        self.0.push(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    /// Merges and sorts the latencies of several threads.
    pub(crate) fn merge(all: impl IntoIterator<Item = Self>) -> Self {
        let mut merged: Vec<u64> = all.into_iter().flat_map(|latencies| latencies.0).collect();
        merged.sort_unstable();
        Self(merged)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns the smallest latency that this share of the calls did not exceed; 0 without any calls. The
    /// latencies must be sorted, as [`merge`](Self::merge) does.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).or(self.0.last()).copied().unwrap_or(0)
    }
}
