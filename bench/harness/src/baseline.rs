//! Whether something got worse since an earlier run.
//!
//! The rule: a figure is worse if its median is worse than that of the earlier run by more than the noise, and the
//! noise is the larger of a tenth of the earlier median (three tenths where either was measured once only) and three times the deviation of both runs together (the
//! root of the sum of their squares; [`Spread::deviation`](crate::spread::Spread) says what a deviation is). What
//! only one of the runs has is told and does not fail. The longest of some latencies is one event, and is not
//! compared.

use std::fmt;

use crate::{
    Result,
    figure::{Better, Figure, number},
    run::Outcome,
};

/// The least that counts as a change.
const TOLERANCE: f64 = 0.1;
/// The same where one round has to do, which says nothing of how rounds are spread.
const TOLERANCE_ONCE: f64 = 0.3;
/// Deviations that chance is allowed.
const DEVIATIONS: f64 = 3.0;

/// What became of the figures of an earlier run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    worse: Vec<String>,
    better: Vec<String>,
    same: usize,
    missing: Vec<String>,
}

impl Comparison {
    /// Whether nothing got worse.
    pub(crate) fn is_well(&self) -> bool {
        self.worse.is_empty()
    }
}

/// Fails if the two cannot be compared, because the machine or the scale is another.
pub(crate) fn compare(before: &Outcome, now: &Outcome) -> Result<Comparison> {
    if before.scale != now.scale {
        return Err(
            format!("the baseline is of scale {:?}, and this is {:?}", before.scale, now.scale).into()
        );
    }
    if let Some(difference) = before.machine.differs(&now.machine) {
        return Err(format!("the baseline is of another machine: {difference}").into());
    }
    let mut comparison = Comparison::default();
    for old in &before.figures {
        if old.what.starts_with("longest") {
            continue;
        }
        let Some(new) = now.figures.iter().find(|new| new.name() == old.name()) else {
            comparison.missing.push(old.name());
            continue;
        };
        let worse_by = worse_by(old, new);
        if worse_by.abs() <= noise(old, new) {
            comparison.same += 1;
            continue;
        }
        let (was, is) = (old.spread.median, new.spread.median);
        let change = 100.0 * (is - was) / was;
        let told = format!("{}: {} -> {} {} ({change:+.0}%)", old.name(), number(was), number(is), old.unit);
        if worse_by > 0.0 { comparison.worse.push(told) } else { comparison.better.push(told) }
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
            [("WORSE", &self.worse), ("better", &self.better), ("not measured this time", &self.missing)]
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
    use crate::{figure::example, machine::Machine, scale::Scale};

    fn outcome(figures: Vec<Figure>) -> Outcome {
        Outcome {
            machine: Machine::here(Path::new("/")),
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
    fn worse_is_less_of_a_rate_and_more_of_a_time() {
        assert!(!compared(Better::Higher, &[100.0; 3], &[80.0; 3]).is_well());
        assert!(compared(Better::Lower, &[100.0; 3], &[80.0; 3]).is_well());
        assert!(!compared(Better::Lower, &[100.0; 3], &[120.0; 3]).is_well());
        assert_eq!(compared(Better::Higher, &[100.0; 3], &[120.0; 3]).better.len(), 1);
    }

    #[test]
    fn a_tenth_is_never_worse_and_what_varies_may_vary() {
        assert_eq!(compared(Better::Higher, &[100.0; 3], &[91.0; 3]).same, 1);
        let noisy = [60.0, 100.0, 140.0, 90.0, 110.0];
        assert_eq!(compared(Better::Higher, &noisy, &[70.0; 3]).same, 1);
        assert!(!compared(Better::Higher, &noisy, &[20.0; 3]).is_well());
        assert!(compared(Better::Higher, &[100.0], &[75.0; 3]).is_well());
        assert!(!compared(Better::Higher, &[100.0], &[65.0; 3]).is_well());
    }

    #[test]
    fn what_is_missing_is_told_and_another_scale_is_refused() {
        let before = outcome(vec![example(&[1.0], Better::Lower)]);
        let comparison = compare(&before, &outcome(Vec::new())).expect("comparable");
        assert!(comparison.is_well());
        assert!(comparison.to_string().contains("1 missing"), "{comparison}");
        let other = Outcome { scale: Scale::Full, ..before.clone() };
        assert!(compare(&before, &other).is_err());
        let mut other = before.clone();
        other.machine.cores += 1;
        assert!(compare(&before, &other).is_err());
    }
}
