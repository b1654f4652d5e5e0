use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use shape_meta::NewShape;

use super::{Chart, Workload};
use crate::{
    Candidate, Client, Kind, Result,
    figure::Target,
    latency::Latencies,
    run::{Measure, Run},
    sample,
    subject::{BareSqlite, Copy},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "concurrent-shape-creation",
    about: "1 to 256 clients add shapes as fast as they can (closed loop, below the bound): acknowledged, which is \
            visible to all, and durable, which is after the last of them is synced. Limits: one copy of the record; \
            a bare rusqlite loop in batches of 50,000",
    run,
    charts: &[
        Chart::lines("Adds acknowledged", "acknowledged").picture("acknowledged"),
        Chart::lines("Adds on disk", "durable").picture("durable"),
        Chart::distribution("Time of an add", "p99 of an add"),
    ],
};

/// The clients whose distribution is told beside the rate.
pub(crate) const CLIENTS: u64 = 8;

struct Round {
    acknowledged: Option<f64>,
    durable: Option<f64>,
    latencies: Latencies,
}

fn run(run: &mut Run<'_>) -> Result {
    let shapes = run.scale.pick([200, 60_000, 200_000, 200_000]);
    let longest = Duration::from_millis(run.scale.pick([50, 200, 1_000, 1_000]));
    let clients: &[u64] =
        run.scale.pick([&[1, 8], &[1, 8, 64], &[1, 2, 4, 8, 16, 64, 256], &[1, 8, 64, 256]]);
    for clients in clients {
        let mut contestants = run.candidates(shapes);
        contestants.extend([&Copy as &dyn Candidate, &BareSqlite]);
        let rows = run.afresh(&contestants, |candidate, directory| {
            round(candidate, directory, *clients, shapes, longest)
        })?;
        let acknowledged = Measure::higher("acknowledged", "shapes/s").at(*clients, "clients");
        let acknowledged =
            acknowledged.limit("bare memcpy").target_if(*clients == CLIENTS, Target::Least(1e6));
        run.tell(&rows, acknowledged, |round| round.acknowledged)?;
        let durable = Measure::higher("durable", "shapes/s").at(*clients, "clients");
        let durable =
            durable.limit("bare rusqlite").target_if(*clients == CLIENTS, Target::LeastTimesLimit(0.95));
        run.tell(&rows, durable, |round| round.durable)?;
        let adding: Vec<_> = rows.into_iter().filter(|row| row.subject != "bare rusqlite").collect();
        let add = Measure::lower("an add", "us").at(*clients, "clients");
        run.tell_latencies(&adding, add.target_if(*clients == CLIENTS, Target::Most(20.0)), |round| {
            &round.latencies
        })?;
    }
    Ok(())
}

fn round(
    candidate: &dyn Candidate,
    directory: &Path,
    clients: u64,
    shapes: u64,
    longest: Duration,
) -> Result<Round> {
    let subject = candidate.open(directory, shapes)?;
    if candidate.name() == "bare rusqlite" {
        let all: Vec<_> = (0..shapes).map(sample::shape).collect();
        let begun = Instant::now();
        subject.fill(&all)?;
        let durable = Some(shapes as f64 / begun.elapsed().as_secs_f64());
        return Ok(Round { acknowledged: None, durable, latencies: Latencies::default() });
    }
    let each = shapes / clients;
    let start = Barrier::new(clients as usize);
    let adders: Vec<Adder> = thread::scope(|scope| {
        let adders: Vec<_> = (0..clients)
            .map(|client| {
                let shapes: Vec<_> = (client * each..(client + 1) * each).map(sample::shape).collect();
                let (subject, start) = (&subject, &start);
                scope.spawn(move || {
                    let client = subject.client();
                    start.wait();
                    add(&mut *client?, shapes, longest)
                })
            })
            .collect();
        adders.into_iter().map(|adder| adder.join().map_err(|_| "a client panicked")?).collect::<Result<_>>()
    })?;
    let begun = adders.iter().map(|adder| adder.begun).min().ok_or("there is a client")?;
    let ended = adders.iter().map(|adder| adder.ended).max().ok_or("there is a client")?;
    subject.flush()?;
    let flushed = begun.elapsed();
    let latencies: Latencies = adders.into_iter().map(|adder| adder.latencies).collect();
    let added = latencies.len() as f64;
    Ok(Round {
        // From the first begin to the last end: the thread that waits for them may be late for both.
        acknowledged: Some(added / (ended - begun).as_secs_f64()),
        durable: (candidate.kind() != Kind::Limit).then(|| added / flushed.as_secs_f64()),
        latencies,
    })
}

struct Adder {
    begun: Instant,
    ended: Instant,
    latencies: Latencies,
}

fn add(client: &mut dyn Client, shapes: Vec<NewShape>, longest: Duration) -> Result<Adder> {
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    let mut ended = begun;
    for shape in shapes {
        let from = Instant::now();
        client.add(shape)?;
        ended = Instant::now();
        latencies.record(ended - from);
        if ended - begun > longest {
            break;
        }
    }
    Ok(Adder { begun, ended, latencies })
}
