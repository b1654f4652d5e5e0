//! What is measured.

pub(crate) mod boot;
pub(crate) mod tenants;

mod allocations;
mod beside;
mod churn;
mod closing;
mod creation;
mod diverse_fanout;
mod growth;
mod lru;
mod many_shapes;
mod reads;
mod reads_during_writes;
mod slow_disk;
mod storm;
mod unrelated_shapes;
mod write_fanout;

use crate::{Result, run::Run};

/// Something that is measured.
pub(crate) struct Workload {
    /// Its name on the command line and in the report.
    pub(crate) name: &'static str,
    /// What it measures, and whether its clients act when they are due (open loop) or when they are done with
    /// what came before (closed loop).
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Run<'_>) -> Result,
    pub(crate) charts: &'static [Chart],
}

/// A picture of some figures of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// The measure that it shows.
    pub(crate) what: &'static str,
    pub(crate) form: Form,
    /// The name of its file among the pictures of the documentation, if it is one of them.
    pub(crate) file: Option<&'static str>,
}

impl Chart {
    const fn lines(title: &'static str, what: &'static str) -> Self {
        Self { title, what, form: Form::Lines, file: None }
    }

    const fn distribution(title: &'static str, what: &'static str) -> Self {
        Self { form: Form::Distribution, ..Self::lines(title, what) }
    }

    const fn picture(self, file: &'static str) -> Self {
        Self { file: Some(file), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Against what the figure depends on, both axes logarithmic.
    Lines,
    /// A latency distribution: how long the worst so many of a hundred took, at least.
    Distribution,
}

/// In the order in which they are run: a later one may use the databases that an earlier one has filled.
pub(crate) const ALL: &[Workload] = &[
    creation::WORKLOAD,
    growth::WORKLOAD,
    many_shapes::WORKLOAD,
    unrelated_shapes::WORKLOAD,
    reads_during_writes::WORKLOAD,
    storm::WORKLOAD,
    write_fanout::WORKLOAD,
    diverse_fanout::WORKLOAD,
    lru::WORKLOAD,
    boot::WORKLOAD,
    allocations::WORKLOAD,
    slow_disk::WORKLOAD,
    closing::WORKLOAD,
    churn::WORKLOAD,
    tenants::WORKLOAD,
];
