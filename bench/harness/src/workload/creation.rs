use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use shape_meta::NewShape;

use super::definition::{Chart, Workload};
use crate::{
    Candidate, Client, Kind, Result,
    candidate::BareMemcpy,
    data::sample,
    probe::Latencies,
    result::{Measure, Target},
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "concurrent-shape-creation",
    about: "1 to 256 clients add shapes as fast as they can (closed loop, below the bound): the rate of \
            acknowledged adds, which are visible to all clients, and of durable adds, which are synced. Limits: one \
            copy of the record; the bare database in batches of 50,000",
    run,
    charts: &[
        Chart::lines("Adds acknowledged", "acknowledged").picture("acknowledged"),
        Chart::lines("Durable adds", "durable").picture("durable"),
        Chart::distribution("Time of an add", "p99 of an add"),
    ],
};

/// The number of clients whose figures have targets.
pub(crate) const CLIENTS: u64 = 8;

struct Round {
    acknowledged: Option<f64>,
    durable: Option<f64>,
    latencies: Latencies,
}

fn run(run: &mut Run<'_>) -> Result {
    let shapes = run.scale.pick([200, 40_000, 200_000, 200_000]);
    let max_time = Duration::from_millis(run.scale.pick([50, 100, 1_000, 1_000]));
    let clients: &[u64] = run.scale.pick([&[1, 8], &[1, 8], &[1, 2, 4, 8, 16, 64, 256], &[1, 8, 64, 256]]);
    let bare = run.backend.bare();
    for clients in clients {
        let mut candidates = run.candidates(shapes);
        candidates.extend([&BareMemcpy as &dyn Candidate, bare]);
        let rows = run.measure_in_new_directories(&candidates, |candidate, directory| {
            round(candidate, directory, *clients, shapes, max_time)
        })?;
        let acknowledged = Measure::higher("acknowledged", "shapes/s").at(*clients, "clients");
        let acknowledged =
            acknowledged.limit("bare memcpy").target_if(*clients == CLIENTS, Target::Least(1e6));
        run.record(&rows, acknowledged, |round| round.acknowledged);
        let durable = Measure::higher("durable", "shapes/s").at(*clients, "clients");
        let least = Target::LeastTimesLimit(run.backend.pick(0.95, 0.8));
        let durable = durable.limit(bare.name()).target_if(*clients == CLIENTS, least);
        run.record(&rows, durable, |round| round.durable);
        let adding: Vec<_> = rows.into_iter().filter(|row| row.candidate != bare.name()).collect();
        let add = Measure::lower("an add", "us").at(*clients, "clients");
        run.record_latencies(&adding, add.target_if(*clients == CLIENTS, Target::Most(20.0)), |round| {
            &round.latencies
        });
    }
    Ok(())
}

fn round(
    candidate: &dyn Candidate,
    directory: &Path,
    clients: u64,
    shapes: u64,
    max_time: Duration,
) -> Result<Round> {
    let store = candidate.open(directory, shapes)?;
    if candidate.kind() == Kind::Limit && candidate.name() != BareMemcpy.name() {
        let all: Vec<_> = (0..shapes).map(sample::shape).collect();
        let start = Instant::now();
        store.fill(&all)?;
        let durable = Some(shapes as f64 / start.elapsed().as_secs_f64());
        return Ok(Round { acknowledged: None, durable, latencies: Latencies::default() });
    }
    let each = shapes / clients;
    let start = Barrier::new(clients as usize);
    let adders: Vec<Adder> = thread::scope(|scope| {
        let adders: Vec<_> = (0..clients)
            .map(|client| {
                let shapes: Vec<_> = (client * each..(client + 1) * each).map(sample::shape).collect();
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    let client = store.client();
                    start.wait();
                    add(&mut *client?, shapes, max_time)
                })
            })
            .collect();
        adders.into_iter().map(|adder| adder.join().map_err(|_| "a client panicked")?).collect::<Result<_>>()
    })?;
    let start = adders.iter().map(|adder| adder.start).min().ok_or("there is a client")?;
    let ended = adders.iter().map(|adder| adder.ended).max().ok_or("there is a client")?;
    store.flush()?;
    let flushed = start.elapsed();
    let latencies: Latencies = adders.into_iter().map(|adder| adder.latencies).collect();
    let added = latencies.len() as f64;
    Ok(Round {
        // From the first begin of a client to the last end of one. The waiting thread may run later than
        // both.
        acknowledged: Some(added / (ended - start).as_secs_f64()),
        durable: (candidate.kind() != Kind::Limit).then(|| added / flushed.as_secs_f64()),
        latencies,
    })
}

struct Adder {
    start: Instant,
    ended: Instant,
    latencies: Latencies,
}

fn add(client: &mut dyn Client, shapes: Vec<NewShape>, max_time: Duration) -> Result<Adder> {
    let mut latencies = Latencies::default();
    let start = Instant::now();
    let mut ended = start;
    for shape in shapes {
        let from = Instant::now();
        client.add(shape)?;
        ended = Instant::now();
        latencies.record(ended - from);
        if ended - start > max_time {
            break;
        }
    }
    Ok(Adder { start, ended, latencies })
}
