use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use super::definition::{Chart, Workload};
use crate::{
    Candidate, Client, Result,
    candidate::Backend,
    data::sample,
    probe::Latencies,
    result::{Measure, Target},
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "durable-before-return",
    about: "1 to 256 clients add shapes, and each waits until its add is synced before it makes the next one \
            (closed loop): the rate, and how long one add takes",
    run,
    charts: &[
        Chart::lines("Adds that are durable before they return", "durable before return")
            .picture("durable-before-return"),
        Chart::distribution("Time of a durable add", "p99 of a durable add"),
    ],
};

/// The numbers of clients, and the least rate with each over SQLite.
const CLIENTS: [(u64, f64); 4] = [(1, 2.9e3), (8, 12e3), (64, 43e3), (256, 56e3)];
/// No client adds more shapes than this.
const MOST_EACH: u64 = 1 << 32;

struct Round {
    rate: f64,
    latencies: Latencies,
}

fn run(run: &mut Run<'_>) -> Result {
    let time = Duration::from_millis(run.scale.pick([20, 100, 1_000, 1_000]));
    let clients: &[u64] = run.scale.pick([&[1, 8], &[1, 64], &[1, 8, 64, 256], &[1, 8, 64, 256]]);
    for (clients, least) in CLIENTS.iter().filter(|(number, _)| clients.contains(number)) {
        let candidates = run.candidates(0);
        let rows = run.measure_in_new_directories(&candidates, |candidate, directory| {
            round(candidate, directory, *clients, time)
        })?;
        let rate = Measure::higher("durable before return", "shapes/s").at(*clients, "clients");
        let rate = match run.backend {
            Backend::Sqlite => rate.target(Target::Least(*least)),
            Backend::Postgres => rate.target_if(*clients == 64, Target::Least(15e3)),
        };
        run.record(&rows, rate, |round| Some(round.rate));
        let add = Measure::lower("a durable add", "us").at(*clients, "clients");
        run.record_latencies(&rows, add, |round| &round.latencies);
    }
    Ok(())
}

fn round(candidate: &dyn Candidate, directory: &Path, clients: u64, time: Duration) -> Result<Round> {
    let store = candidate.open(directory, 0)?;
    let start = Barrier::new(clients as usize);
    let rounds: Vec<(Instant, Instant, Latencies)> = thread::scope(|scope| {
        let adding: Vec<_> = (0..clients)
            .map(|client| {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    let client_of_store = store.client();
                    start.wait();
                    add(&mut *client_of_store?, client * MOST_EACH, time)
                })
            })
            .collect();
        adding
            .into_iter()
            .map(|adding| adding.join().map_err(|_| "a client panicked")?)
            .collect::<Result<_>>()
    })?;
    let began = rounds.iter().map(|(began, ..)| *began).min().ok_or("there is a client")?;
    let ended = rounds.iter().map(|(_, ended, _)| *ended).max().ok_or("there is a client")?;
    let latencies: Latencies = rounds.into_iter().map(|(.., latencies)| latencies).collect();
    Ok(Round { rate: latencies.len() as f64 / (ended - began).as_secs_f64(), latencies })
}

fn add(client: &mut dyn Client, first: u64, time: Duration) -> Result<(Instant, Instant, Latencies)> {
    let mut latencies = Latencies::default();
    let began = Instant::now();
    let mut ended = began;
    for number in first.. {
        let shape = sample::shape(number);
        let from = Instant::now();
        client.add_durable(shape)?;
        ended = Instant::now();
        latencies.record(ended - from);
        if ended - began >= time {
            break;
        }
    }
    Ok((began, ended, latencies))
}
