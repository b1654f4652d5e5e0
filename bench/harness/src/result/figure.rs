use serde::{Deserialize, Serialize};

use crate::{
    probe::Quantiles,
    result::{number::number, spread::Spread},
};

/// One figure of one candidate: the values of its rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) workload: String,
    /// The name of the measure.
    pub(crate) measure: String,
    pub(crate) candidate: String,
    /// The parameter of the workload, such as 64 clients.
    pub(crate) at: Option<At>,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
    /// The result of the unavoidable part of the work, measured in the same rounds.
    pub(crate) limit: Option<Limit>,
    /// The target value.
    pub(crate) target: Option<Target>,
    /// The distribution over all rounds, if the figure is a latency.
    pub(crate) quantiles: Option<Quantiles>,
}

/// A value of the parameter of a workload.
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
    /// At most this multiple of the limit.
    MostTimesLimit(f64),
    /// At least this multiple of the limit.
    LeastTimesLimit(f64),
}

impl Figure {
    /// Returns the identity of the figure, which is the same in every run.
    pub(crate) fn id(&self) -> String {
        let at = self
            .at
            .as_ref()
            .map(|at| format!(", {} {}", number(at.value as f64), at.unit))
            .unwrap_or_default();
        format!("{}: {}{at}: {}", self.workload, self.measure, self.candidate)
    }

    /// Returns the share of the limit that the figure reaches: 1 equals the limit.
    pub(crate) fn share(&self) -> Option<f64> {
        let limit = self.limit.as_ref()?.median;
        Some(match self.better {
            Better::Higher => self.spread.median / limit,
            Better::Lower => limit / self.spread.median,
        })
    }

    /// Returns whether the target is reached, and the target as text.
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

#[cfg(test)]
pub(crate) use tests::example;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_relative_to_the_better_direction() {
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
            measure: "metadata".into(),
            candidate: "full stack".into(),
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
