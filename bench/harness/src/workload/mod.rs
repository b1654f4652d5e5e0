//! The workloads.

pub(crate) mod boot;
pub(crate) mod stacks;
pub(crate) mod tenants;

mod allocations;
mod background_writes;
mod churn;
mod closing;
mod creation;
mod definition;
mod diverse_fanout;
mod durable_adds;
mod eviction;
mod executor_stall;
mod freshness;
mod from_definition;
mod growth;
mod lru;
mod many_shapes;
mod random_reads;
mod reads_during_writes;
mod slow_disk;
mod storm;
mod unrelated_shapes;
mod write_fanout;

use crate::candidate::Backend;
pub(crate) use definition::{Chart, Form, Workload};

/// Returns the workloads over this database.
pub(crate) fn over(backend: Backend) -> &'static [Workload] {
    backend.pick(ALL, OVER_POSTGRES)
}

/// The workloads of `--store postgres`. The others are about SQLite, or about layers that do not know the
/// database.
const OVER_POSTGRES: &[Workload] = &[
    creation::WORKLOAD,
    durable_adds::WORKLOAD,
    growth::WORKLOAD,
    many_shapes::WORKLOAD,
    reads_during_writes::WORKLOAD,
    boot::WORKLOAD,
    freshness::WORKLOAD,
    stacks::WORKLOAD,
];

/// All workloads over SQLite in the order in which they run. A later one may use the databases that an
/// earlier one has filled.
const ALL: &[Workload] = &[
    creation::WORKLOAD,
    durable_adds::WORKLOAD,
    from_definition::WORKLOAD,
    growth::WORKLOAD,
    many_shapes::WORKLOAD,
    unrelated_shapes::WORKLOAD,
    reads_during_writes::WORKLOAD,
    storm::WORKLOAD,
    write_fanout::WORKLOAD,
    diverse_fanout::WORKLOAD,
    lru::WORKLOAD,
    eviction::WORKLOAD,
    boot::WORKLOAD,
    allocations::WORKLOAD,
    slow_disk::WORKLOAD,
    executor_stall::WORKLOAD,
    closing::WORKLOAD,
    churn::WORKLOAD,
    tenants::WORKLOAD,
];
