use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How large the data are, and how long everything may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    /// For tests: whether everything runs. Its figures mean nothing.
    #[value(hide = true)]
    Tiny,
    /// Under a minute on two idle cores, up to 200,000 shapes.
    Quick,
    /// Up to a million shapes: far beyond the processor's caches.
    Full,
    /// Up to ten million shapes: needs some 20 GB of disk and 8 GB of memory.
    Huge,
}

impl Scale {
    /// One of four, from the smallest on.
    pub(crate) fn pick<T: Copy>(self, choices: [T; 4]) -> T {
        choices[self as usize]
    }

    /// Rounds that count, where the command line does not say.
    pub(crate) fn rounds(self) -> usize {
        self.pick([1, 3, 5, 5])
    }

    /// Numbers of shapes in filled databases.
    pub(crate) fn sizes(self) -> &'static [u64] {
        self.pick([
            &[500],
            &[10_000, 100_000],
            &[10_000, 100_000, 1_000_000],
            &[10_000, 100_000, 1_000_000, 10_000_000],
        ])
    }

    /// Shapes of the one database that workloads share which do not ask what size costs.
    pub(crate) fn shapes(self) -> u64 {
        self.pick([500, 100_000, 1_000_000, 1_000_000])
    }
}
