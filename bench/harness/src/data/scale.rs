use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The size of the data and the duration of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    /// For tests: checks that everything runs. Its figures mean nothing.
    #[value(hide = true)]
    Tiny,
    /// Under a minute on two idle cores, up to 100,000 shapes.
    Quick,
    /// Up to a million shapes, far more than the processor's caches hold.
    Full,
    /// Up to ten million shapes: needs some 20 GB of disk and 8 GB of memory.
    Huge,
}

impl Scale {
    /// Returns its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        self.pick(["tiny", "quick", "full", "huge"])
    }

    /// Returns one of four values, from the smallest scale to the largest.
    pub(crate) fn pick<T: Copy>(self, choices: [T; 4]) -> T {
        choices[self as usize]
    }

    /// Returns the default number of rounds.
    pub(crate) fn rounds(self) -> usize {
        self.pick([1, 3, 5, 5])
    }

    /// Returns the numbers of shapes in filled databases.
    pub(crate) fn sizes(self) -> &'static [u64] {
        self.pick([
            &[500],
            &[100_000],
            &[10_000, 100_000, 1_000_000],
            &[10_000, 100_000, 1_000_000, 10_000_000],
        ])
    }

    /// Returns the number of shapes for the workloads that do not vary it.
    pub(crate) fn shapes(self) -> u64 {
        self.pick([500, 100_000, 1_000_000, 1_000_000])
    }
}
