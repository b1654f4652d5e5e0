use std::time::Duration;

use super::{
    Chart, Workload,
    reads::{Picks, Read},
};
use crate::{
    Candidate, Result,
    figure::Target,
    run::{Filling, Measure, Run},
    sample,
    subject::{BareMap, BareSqlite},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "many-shapes-one-client-latency",
    about: "one client looks up shapes at random, with 10 thousand to 10 million there and nothing pending: the time \
            of each, one after the other (closed loop), and the distribution at 20,000 a second (open loop). Limits: \
            a bare evmap of the same entries; a bare prepared statement by row id",
    run,
    charts: &[
        Chart::lines("Metadata by handle", "metadata by handle").picture("metadata"),
        Chart::lines("Handle by key", "handle by key"),
        Chart::lines("Definition by handle", "definition by handle"),
        Chart::distribution("Metadata, at 20,000 a second", "p99 of metadata, from due"),
    ],
};

fn run(run: &mut Run<'_>) -> Result {
    let longest = Duration::from_millis(run.scale.pick([5, 50, 300, 300]));
    for shapes in run.scale.sizes() {
        let mut contestants = run.candidates(*shapes);
        contestants.extend([&BareMap as &dyn Candidate, &BareSqlite]);
        let filling = Filling { name: "plain", shapes: *shapes, shape: sample::shape };
        let opened = run.open_filled(&contestants, filling)?;
        let mut clients =
            opened.iter().map(|(name, open)| Ok((*name, open.client()?))).collect::<Result<Vec<_>>>()?;
        let picks = Picks::of(*shapes, run.scale.pick([500, 200_000, 400_000, 400_000]));
        for read in Read::ALL {
            let limit = if read == Read::Definition { "bare rusqlite" } else { "bare evmap" };
            let mut able: Vec<_> = clients
                .iter_mut()
                .filter(|(name, _)| *name == limit || !name.starts_with("bare"))
                .map(|(name, client)| (*name, client))
                .collect();
            let rows = run.in_turn(&mut able, |client| picks.each(&mut ***client, read, longest))?;
            let most = if read == Read::Definition { 1.2 } else { 1.5 };
            let measure = Measure::lower(read.what(), "ns").at(*shapes, "shapes").limit(limit);
            run.tell(&rows, measure.target(Target::MostTimesLimit(most)), |ns| Some(*ns))?;
        }
        let mut able: Vec<_> = clients
            .iter_mut()
            .filter(|(name, _)| *name != "bare rusqlite")
            .map(|(name, client)| (*name, client))
            .collect();
        let rows = run
            .in_turn(&mut able, |client| picks.paced(&mut ***client, Read::Metadata, 20_000, 2 * longest))?;
        let measure = Measure::lower("metadata, from due", "us").at(*shapes, "shapes").limit("bare evmap");
        run.tell_latencies(&rows, measure, |paced| &paced.due)?;
    }
    Ok(())
}
