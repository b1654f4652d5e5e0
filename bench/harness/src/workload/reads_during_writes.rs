use super::{
    Chart, Workload,
    beside::{self, Writers},
};
use crate::{Result, figure::Target, run::Run};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "reads-during-writes",
    about: "one client looks up shapes at 20,000 a second (open loop), quietly and beside a storm of 50,000 adds a \
            second from two threads. Limit: a bare evmap, beside the same storm",
    run,
    charts: &[
        Chart::distribution("Metadata, quiet", "p99 of metadata by handle, quiet, from due"),
        Chart::distribution("Metadata beside a storm", "p99 of metadata by handle, beside, from due")
            .picture("reads-during-writes"),
    ],
};

fn run(run: &mut Run<'_>) -> Result {
    let storm = Writers { threads: 2, rate: 50_000, keep: u64::MAX };
    beside::compare(run, storm, Some(Target::Most(1.5)))
}
