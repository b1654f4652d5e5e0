use super::{
    background_writes::{self, Writers},
    definition::{Chart, Workload},
};
use crate::{Result, run::Run};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "unrelated-shapes-one-client-latency",
    about: "one client looks up shapes at 20,000 per second (open loop), when idle and while unrelated shapes are added \
            and removed at 2,000 per second. Limit: a bare evmap during the same writes",
    run,
    charts: &[Chart::distribution(
        "Metadata while unrelated shapes change",
        "p99 of metadata by handle, during writes, response time",
    )],
};

fn run(run: &mut Run<'_>) -> Result {
    background_writes::compare(run, Writers { threads: 1, rate: 2_000, keep: 200 }, None)
}
