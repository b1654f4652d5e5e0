use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{latency::Quantiles, spread::Spread};

/// One measured figure of one candidate: what some rounds came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) workload: String,
    pub(crate) what: String,
    pub(crate) subject: String,
    /// On what it depends: so many clients, so many shapes.
    pub(crate) at: Option<At>,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
    /// The part of the work that nobody can avoid, measured in the same turns.
    pub(crate) limit: Option<Limit>,
    /// What the figure should be.
    pub(crate) target: Option<Target>,
    /// All rounds together, where the figure is of a distribution.
    pub(crate) quantiles: Option<Quantiles>,
}

/// A place on the axis of a figure that depends on something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct At {
    pub(crate) value: u64,
    pub(crate) unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) median: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Target {
    Most(f64),
    Least(f64),
    /// In relation to the limit.
    MostTimesLimit(f64),
    /// In relation to the limit.
    LeastTimesLimit(f64),
}

impl Figure {
    /// Which figure it is, in every run.
    pub(crate) fn name(&self) -> String {
        let at = self
            .at
            .as_ref()
            .map(|at| format!(", {} {}", number(at.value as f64), at.unit))
            .unwrap_or_default();
        format!("{}: {}{at}: {}", self.workload, self.what, self.subject)
    }

    /// How much of its limit the figure reaches: 1 is as good as the limit itself.
    pub(crate) fn share(&self) -> Option<f64> {
        let limit = self.limit.as_ref()?.median;
        Some(match self.better {
            Better::Higher => self.spread.median / limit,
            Better::Lower => limit / self.spread.median,
        })
    }

    /// Whether the target is reached, and what it is.
    pub(crate) fn verdict(&self) -> Option<(bool, String)> {
        let median = self.spread.median;
        let ratio = self.limit.as_ref().map_or(f64::NAN, |limit| median / limit.median);
        Some(match self.target? {
            Target::Most(most) => (median <= most, format!("≤ {}", number(most))),
            Target::Least(least) => (median >= least, format!("≥ {}", number(least))),
            Target::MostTimesLimit(most) => (ratio <= most, format!("≤ {most} × limit")),
            Target::LeastTimesLimit(least) => (ratio >= least, format!("≥ {least} × limit")),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spread, unit, .. } = self;
        write!(f, "{}: {} {unit}", self.name(), number(spread.median))?;
        write!(f, " ({} to {})", number(spread.lowest), number(spread.highest))?;
        if let (Some(limit), Some(share)) = (&self.limit, self.share()) {
            write!(f, ", {}% of {}", number(100.0 * share), limit.name)?;
        }
        Ok(())
    }
}

/// Three figures or so, with thousands apart.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        "?".to_owned()
    } else if value >= 1_000.0 {
        indicatif::HumanCount(value.round() as u64).to_string()
    } else if value >= 10.0 || value == value.round() {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
pub(crate) use tests::example;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let told = [0.0, 0.1234, 3.0, 9.87, 98.7, 1_234.5, 12_345_678.0, f64::NAN].map(number);
        assert_eq!(told, ["0", "0.12", "3", "9.87", "99", "1,235", "12,345,678", "?"]);
    }

    #[test]
    fn a_share_is_of_the_better_whichever_way_that_is() {
        let mut figure = example(&[50.0], Better::Higher);
        figure.limit = Some(Limit { name: "bare".into(), median: 100.0 });
        assert_eq!(figure.share(), Some(0.5));
        figure.better = Better::Lower;
        assert_eq!(figure.share(), Some(2.0));
        figure.target = Some(Target::MostTimesLimit(0.4));
        assert_eq!(figure.verdict(), Some((false, "≤ 0.4 × limit".into())));
    }

    pub(crate) fn example(rounds: &[f64], better: Better) -> Figure {
        Figure {
            workload: "reads".into(),
            what: "metadata".into(),
            subject: "full stack".into(),
            at: Some(At { value: 10_000, unit: "shapes".into() }),
            unit: "ns".into(),
            better,
            rounds: rounds.to_vec(),
            spread: Spread::of(rounds),
            limit: None,
            target: None,
            quantiles: None,
        }
    }
}
