use super::{
    Chart, Workload,
    beside::{self, Writers},
};
use crate::{Result, run::Run};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "unrelated-shapes-one-client-latency",
    about: "one client looks up shapes at 20,000 a second (open loop), quietly and while shapes that it does not read \
            come and go at 2,000 a second. Limit: a bare evmap, beside the same writers",
    run,
    charts: &[Chart::distribution(
        "Metadata while unrelated shapes come and go",
        "p99 of metadata by handle, beside, from due",
    )],
};

fn run(run: &mut Run<'_>) -> Result {
    beside::compare(run, Writers { threads: 1, rate: 2_000, keep: 200 }, None)
}
