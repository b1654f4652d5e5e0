use crate::{Result, run::Run};

/// A workload and how its figures are drawn.
pub(crate) struct Workload {
    /// Its name on the command line and in the report.
    pub(crate) name: &'static str,
    /// The description of the load: also whether its clients act at fixed times (open loop) or after each
    /// answer (closed loop).
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Run<'_>) -> Result,
    pub(crate) charts: &'static [Chart],
}

/// A chart of one measure of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) measure: &'static str,
    pub(crate) form: Form,
    /// The name of its file among the pictures of the documentation, if it is one of them.
    pub(crate) file: Option<&'static str>,
}

impl Chart {
    pub(crate) const fn lines(title: &'static str, measure: &'static str) -> Self {
        Self { title, measure, form: Form::Lines, file: None }
    }

    pub(crate) const fn distribution(title: &'static str, measure: &'static str) -> Self {
        Self { form: Form::Distribution, ..Self::lines(title, measure) }
    }

    pub(crate) const fn picture(self, file: &'static str) -> Self {
        Self { file: Some(file), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The median against the parameter of the workload, with logarithmic axes.
    Lines,
    /// The latency at each quantile.
    Distribution,
}
