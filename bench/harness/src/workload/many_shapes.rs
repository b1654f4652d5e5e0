use std::time::Duration;

use super::{
    definition::{Chart, Workload},
    random_reads::{RandomReads, Read},
};
use crate::{
    Candidate, Result,
    candidate::{Backend, BareEvmap, DEFINITIONS, SAME_THREAD},
    data::sample,
    result::{Measure, Target},
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "many-shapes-one-client-latency",
    about: "one client looks up random shapes among 10 thousand to 10 million, with nothing pending: the time of each \
            (closed loop), and the distribution at 20,000 per second (open loop); and \
            definitions that a cache in memory holds. Limits: a bare evmap of the same entries; a bare prepared \
            statement by id",
    run,
    charts: &[
        Chart::lines("Metadata by handle", "metadata by handle").picture("metadata"),
        Chart::lines("Handle by key", "handle by key"),
        Chart::lines("Definition by handle", "definition by handle"),
        Chart::distribution("Metadata at 20,000 per second", "p99 of metadata, response time"),
    ],
};

fn run(run: &mut Run<'_>) -> Result {
    let max_time = Duration::from_millis(run.scale.pick([5, 30, 300, 300]));
    let bare = run.backend.bare();
    for shapes in run.scale.sizes() {
        let mut candidates = run.candidates(*shapes);
        candidates.extend([&BareEvmap as &dyn Candidate, bare]);
        if run.backend == Backend::Postgres {
            candidates.push(&SAME_THREAD);
        }
        let keeps_definitions =
            run.backend == Backend::Sqlite && run.has_full_stack() && *shapes <= 1_000_000;
        if keeps_definitions {
            candidates.push(&DEFINITIONS);
        }
        let filling = Filling { name: "plain", shapes: *shapes, shape: sample::shape };
        let opened = run.open_filled(&candidates, filling)?;
        let mut clients =
            opened.iter().map(|(name, open)| Ok((*name, open.client()?))).collect::<Result<Vec<_>>>()?;
        for (_, client) in clients.iter_mut().filter(|(name, _)| *name == DEFINITIONS.name()) {
            (0..*shapes).try_for_each(|number| client.definition(&sample::handle(number)).map(drop))?;
        }
        let random_reads = RandomReads::new(*shapes, run.scale.pick([500, 200_000, 400_000, 400_000]));
        for read in Read::ALL {
            let limit = if read == Read::Definition { bare.name() } else { BareEvmap.name() };
            let mut able: Vec<_> = clients
                .iter_mut()
                .filter(|(name, _)| name.starts_with(limit) || !name.starts_with("bare"))
                .filter(|(name, _)| read == Read::Definition || *name != DEFINITIONS.name())
                .map(|(name, client)| (*name, client))
                .collect();
            let rows = run.measure_rounds(&mut able, |client| {
                random_reads.closed_loop(&mut ***client, read, max_time)
            })?;
            let times = if read == Read::Definition { run.backend.pick(1.2, 1.3) } else { 1.5 };
            let measure = Measure::lower(read.name(), "ns").at(*shapes, "shapes").limit(limit);
            run.record(&rows, measure.target(Target::MostTimesLimit(times)), |ns| Some(*ns));
        }
        let mut able: Vec<_> = clients
            .iter_mut()
            .filter(|(name, _)| !name.starts_with(bare.name()) && *name != DEFINITIONS.name())
            .map(|(name, client)| (*name, client))
            .collect();
        let rows = run.measure_rounds(&mut able, |client| {
            random_reads.open_loop(&mut ***client, Read::Metadata, 20_000, 2 * max_time)
        })?;
        let measure =
            Measure::lower("metadata, response time", "us").at(*shapes, "shapes").limit("bare evmap");
        run.record_latencies(&rows, measure, |latencies| &latencies.response);
    }
    Ok(())
}
