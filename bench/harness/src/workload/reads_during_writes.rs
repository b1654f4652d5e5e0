use super::{
    background_writes::{self, Writers},
    definition::{Chart, Workload},
};
use crate::{Result, result::Target, run::Run};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "reads-during-writes",
    about: "one client looks up shapes at 20,000 per second (open loop), when idle and during 50,000 adds per second \
            from two threads. Limit: a bare evmap during the same adds",
    run,
    charts: &[
        Chart::distribution("Metadata, idle", "p99 of metadata by handle, idle, response time"),
        Chart::distribution(
            "Metadata during a storm",
            "p99 of metadata by handle, during writes, response time",
        )
        .picture("reads-during-writes"),
    ],
};

fn run(run: &mut Run<'_>) -> Result {
    let storm = Writers { threads: 2, rate: 50_000, keep: u64::MAX };
    background_writes::compare(run, storm, Some(Target::Most(1.5)))
}
