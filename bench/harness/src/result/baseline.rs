//! Compares a run with an earlier one.
//!
//! A figure is worse if its median is worse than the earlier median by more than the noise. The noise is the
//! larger of two values: a tenth of the earlier median (three tenths if either run has only one round), and
//! three times the combined deviation of both runs (the root of the sum of the squares; see
//! [`Spread::deviation`](crate::result::spread::Spread)). A figure that only one run has is listed, and does
//! not fail the comparison. A maximum of latencies is a single event, and is not compared.

use std::fmt;

use crate::{
    error::Result,
    result::{
        figure::{Better, Figure},
        number::number,
        outcome::Outcome,
    },
};

/// The smallest relative difference that counts as a change.
const TOLERANCE: f64 = 0.1;
/// The same for a single round, which has no known spread.
const TOLERANCE_ONCE: f64 = 0.3;
/// The number of deviations that are attributed to chance.
const DEVIATIONS: f64 = 3.0;

/// The comparison of the figures of two runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    worse: Vec<String>,
    better: Vec<String>,
    same: usize,
    missing: Vec<String>,
}

impl Comparison {
    /// Returns whether no figure is worse.
    pub(crate) fn passed(&self) -> bool {
        self.worse.is_empty()
    }
}

/// Compares the figures of two runs. Fails if they cannot be compared because the machine or the scale
/// differs.
pub(crate) fn compare(before: &Outcome, now: &Outcome) -> Result<Comparison> {
    let sizes = |outcome: &Outcome| (outcome.store, outcome.scale);
    if sizes(before) != sizes(now) {
        let (before, now) = (sizes(before), sizes(now));
        return Err(format!("the baseline has store and scale {before:?}, but this run has {now:?}").into());
    }
    if let Some(difference) = before.machine.differs(&now.machine) {
        return Err(format!("the baseline was measured on another machine: {difference}").into());
    }
    let mut comparison = Comparison::default();
    for old in &before.figures {
        if old.measure.starts_with("max of") {
            continue;
        }
        let Some(new) = now.figures.iter().find(|new| new.id() == old.id()) else {
            comparison.missing.push(old.id());
            continue;
        };
        let worse_by = worse_by(old, new);
        if worse_by.abs() <= noise(old, new) {
            comparison.same += 1;
            continue;
        }
        let (was, is) = (old.spread.median, new.spread.median);
        let change = 100.0 * (is - was) / was;
        let line = format!("{}: {} -> {} {} ({change:+.0}%)", old.id(), number(was), number(is), old.unit);
        if worse_by > 0.0 { comparison.worse.push(line) } else { comparison.better.push(line) }
    }
    Ok(comparison)
}

fn worse_by(old: &Figure, new: &Figure) -> f64 {
    let more = new.spread.median - old.spread.median;
    match old.better {
        Better::Higher => -more,
        Better::Lower => more,
    }
}

fn noise(old: &Figure, new: &Figure) -> f64 {
    let chance = DEVIATIONS * old.spread.deviation.hypot(new.spread.deviation);
    let once = old.rounds.len() < 2 || new.rounds.len() < 2;
    let tolerance = if once { TOLERANCE_ONCE } else { TOLERANCE };
    chance.max(tolerance * old.spread.median.abs())
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, figures) in
            [("WORSE", &self.worse), ("better", &self.better), ("not measured", &self.missing)]
        {
            for figure in figures {
                writeln!(f, "{what}: {figure}")?;
            }
        }
        let (worse, better, missing) = (self.worse.len(), self.better.len(), self.missing.len());
        write!(
            f,
            "against the baseline: {worse} worse, {better} better, {} the same, {missing} missing",
            self.same
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        candidate::Backend,
        data::Scale,
        result::{Machine, example},
    };

    fn outcome(figures: Vec<Figure>) -> Outcome {
        Outcome {
            machine: Machine::detect(Path::new("/"), Backend::Sqlite).expect("it needs no server"),
            store: Backend::Sqlite,
            command: String::new(),
            scale: Scale::Quick,
            rounds: 3,
            seconds: 1,
            candidates: Vec::new(),
            figures,
        }
    }

    fn compared(better: Better, old: &[f64], new: &[f64]) -> Comparison {
        let (old, new) = (outcome(vec![example(old, better)]), outcome(vec![example(new, better)]));
        compare(&old, &new).expect("the same machine and scale")
    }

    #[test]
    fn worse_means_a_lower_rate_or_a_longer_time() {
        assert!(!compared(Better::Higher, &[100.0; 3], &[80.0; 3]).passed());
        assert!(compared(Better::Lower, &[100.0; 3], &[80.0; 3]).passed());
        assert!(!compared(Better::Lower, &[100.0; 3], &[120.0; 3]).passed());
        assert_eq!(compared(Better::Higher, &[100.0; 3], &[120.0; 3]).better.len(), 1);
    }

    #[test]
    fn a_difference_within_the_noise_is_no_change() {
        assert_eq!(compared(Better::Higher, &[100.0; 3], &[91.0; 3]).same, 1);
        let noisy = [60.0, 100.0, 140.0, 90.0, 110.0];
        assert_eq!(compared(Better::Higher, &noisy, &[70.0; 3]).same, 1);
        assert!(!compared(Better::Higher, &noisy, &[20.0; 3]).passed());
        assert!(compared(Better::Higher, &[100.0], &[75.0; 3]).passed());
        assert!(!compared(Better::Higher, &[100.0], &[65.0; 3]).passed());
    }

    #[test]
    fn missing_figures_are_listed_and_another_scale_is_refused() {
        let before = outcome(vec![example(&[1.0], Better::Lower)]);
        let comparison = compare(&before, &outcome(Vec::new())).expect("comparable");
        assert!(comparison.passed());
        assert!(comparison.to_string().contains("1 missing"), "{comparison}");
        let other = Outcome { scale: Scale::Full, ..before.clone() };
        assert!(compare(&before, &other).is_err());
        let mut other = before.clone();
        other.machine.cores += 1;
        assert!(compare(&before, &other).is_err());
    }
}
