use std::{collections::BTreeMap, fmt};

/// The statistics of the rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of rounds.
    pub rounds: u64,
    /// The number of rounds in which the child was killed before it had ended.
    pub kills: u64,
    /// The violations that were found.
    pub violations: Vec<String>,
    /// The number of kills for each activity of the child.
    pub(super) hits: BTreeMap<String, u64>,
    /// What happened between two children, each with its number.
    pub(super) events: BTreeMap<&'static str, u64>,
    /// The number of adds whose data was created, of live shapes whose data was looked for, of directories
    /// that had to stay without the application's word, and of orphans that were deleted.
    pub(super) created: u64,
    pub(super) live: u64,
    pub(super) guarded: u64,
    pub(super) orphans: u64,
    /// The number of chains for each kind of initial files.
    pub(super) chains: BTreeMap<&'static str, u64>,
    /// The number of acknowledged mutations; for each kill with a buffer, the number of lost ones and the age
    /// of the oldest.
    pub(super) acknowledged: u64,
    pub(super) lost: Vec<u64>,
    pub(super) ages: Vec<u64>,
}

impl Report {
    /// Returns whether no violation was found.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: Vec<String>| map.join(", ");
        writeln!(f, "{} rounds, {} kills, {} violations", self.rounds, self.kills, self.violations.len())?;
        writeln!(
            f,
            "initial files: {}",
            list(self.chains.iter().map(|(of, n)| format!("{of} {n}")).collect())
        )?;
        writeln!(
            f,
            "killed during: {}",
            list(self.hits.iter().map(|(at, n)| format!("{at} {n}")).collect())
        )?;
        writeln!(
            f,
            "between children: {}",
            list(self.events.iter().map(|(event, n)| format!("{event} {n}")).collect())
        )?;
        writeln!(
            f,
            "stored data: created {} times; {} live shapes had theirs; {} times a directory waited for the \
             application's word; {} orphans deleted",
            self.created, self.live, self.guarded, self.orphans
        )?;
        let (lost, ages) = (Percentiles::of(&self.lost), Percentiles::of(&self.ages));
        writeln!(f, "{} mutations acknowledged; lost by a kill with a buffer: {lost}", self.acknowledged)?;
        write!(f, "age of the oldest lost mutation in milliseconds: {}", ages.over(1_000))
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
        let [p50, p90, p99, max] = self.0;
        write!(f, "p50 {p50}, p90 {p90}, p99 {p99}, max {max}")
    }
}
