use crate::result::{
    figure::{At, Better, Figure, Limit, Target},
    spread::Spread,
};

/// A measure of a workload: its figures without their values.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    name: String,
    unit: &'static str,
    better: Better,
    at: Option<At>,
    limit: Option<&'static str>,
    target: Option<Target>,
}

impl Measure {
    /// A measure of which more is better.
    pub(crate) fn higher(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, better: Better::Higher, at: None, limit: None, target: None }
    }

    /// A measure of which less is better.
    pub(crate) fn lower(name: impl Into<String>, unit: &'static str) -> Self {
        Self { better: Better::Lower, ..Self::higher(name, unit) }
    }

    /// Sets the parameter of the workload, such as 64 clients.
    pub(crate) fn at(mut self, value: u64, unit: &str) -> Self {
        self.at = Some(At { value, unit: unit.to_owned() });
        self
    }

    /// Sets the candidate that is the limit of the others.
    pub(crate) fn limit(mut self, candidate: &'static str) -> Self {
        self.limit = Some(candidate);
        self
    }

    /// Sets the target of the full stack.
    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets the target if it applies.
    pub(crate) fn target_if(self, applies: bool, target: Target) -> Self {
        if applies { self.target(target) } else { self }
    }

    /// Returns the measure with a prefix before its name, without limit and target.
    pub(crate) fn prefixed(&self, prefix: &str) -> Self {
        Self { name: format!("{prefix} {}", self.name), limit: None, target: None, ..self.clone() }
    }

    /// Returns the measure with a prefix before its name, without the target.
    pub(crate) fn prefixed_with_limit(&self, prefix: &str) -> Self {
        Self { limit: self.limit, ..self.prefixed(prefix) }
    }

    /// Returns the measure with a prefix before its name.
    pub(crate) fn prefixed_with_target(&self, prefix: &str) -> Self {
        Self { target: self.target, ..self.prefixed_with_limit(prefix) }
    }

    /// Returns the figures of the candidates with these rounds. `full_stack` names the candidate that has the
    /// target.
    pub(crate) fn figures(
        &self,
        workload: &str,
        rows: &[(&'static str, Vec<f64>)],
        full_stack: &str,
    ) -> Vec<Figure> {
        let limit = self.limit.and_then(|name| {
            let (_, rounds) = rows.iter().find(|(candidate, _)| *candidate == name)?;
            Some(Limit { name: name.to_owned(), median: Spread::of(rounds).median })
        });
        let figure = |(candidate, rounds): &(&'static str, Vec<f64>)| Figure {
            workload: workload.to_owned(),
            measure: self.name.clone(),
            candidate: (*candidate).to_owned(),
            at: self.at.clone(),
            unit: self.unit.to_owned(),
            better: self.better,
            spread: Spread::of(rounds),
            rounds: rounds.clone(),
            limit: limit.clone().filter(|_| self.limit != Some(*candidate)),
            target: self.target.filter(|_| *candidate == full_stack),
            quantiles: None,
        };
        rows.iter().map(figure).collect()
    }
}
