use std::{collections::BTreeMap, fmt};

/// How the rounds went.
#[derive(Debug, Default)]
pub struct Report {
    /// How many there were.
    pub rounds: u64,
    /// In how many of them the child was killed; in the others it was done before.
    pub kills: u64,
    /// What was wrong.
    pub violations: Vec<String>,
    /// Where the kills hit.
    pub(super) hits: BTreeMap<String, u64>,
    /// The files with which chains began.
    pub(super) chains: BTreeMap<&'static str, u64>,
    /// What was acknowledged, what of it was lost, and how old that was.
    pub(super) acknowledged: u64,
    pub(super) lost: Vec<u64>,
    pub(super) ages: Vec<u64>,
}

impl Report {
    /// Whether nothing was wrong.
    pub fn is_well(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: Vec<String>| map.join(", ");
        writeln!(f, "{} rounds, {} kills, {} violations", self.rounds, self.kills, self.violations.len())?;
        writeln!(f, "began with: {}", list(self.chains.iter().map(|(of, n)| format!("{of} {n}")).collect()))?;
        writeln!(f, "killed in: {}", list(self.hits.iter().map(|(at, n)| format!("{at} {n}")).collect()))?;
        let (lost, ages) = (Percentiles::of(&self.lost), Percentiles::of(&self.ages));
        writeln!(f, "{} mutations acknowledged; lost by a kill with a buffer: {lost}", self.acknowledged)?;
        write!(f, "the oldest of what a kill lost, in milliseconds: {}", ages.over(1_000))
    }
}

struct Percentiles([f64; 4]);

impl Percentiles {
    fn of(values: &[u64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let at = |part: usize| sorted.get(sorted.len().saturating_sub(1) * part / 100).copied().unwrap_or(0);
        Self([50, 90, 99, 100].map(|part| at(part) as f64))
    }

    fn over(self, divisor: u32) -> Self {
        Self(self.0.map(|value| value / f64::from(divisor)))
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly_all, all] = self.0;
        write!(f, "p50 {half}, p90 {most}, p99 {nearly_all}, max {all}")
    }
}
