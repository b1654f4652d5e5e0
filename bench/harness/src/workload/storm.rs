use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use super::{
    Chart, Workload,
    reads::{Picks, Read},
};
use crate::{
    Client, Result, Subject,
    latency::Latencies,
    pace::Paced,
    run::{Filling, Measure, Run},
    sample,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "redeploy-storm",
    about: "all clients come at once, each for some shapes: it looks each up by key, does not find it, adds it, and \
            checks its handle. Everything is due when the storm begins (open loop), so the time of a shape is from \
            then on. Another client reads at 2,000 a second meanwhile. Where the storm takes longer than is \
            measured, what is left is not counted",
    run,
    charts: &[
        Chart::distribution("When a client has its shape", "p99 of a shape, from due").picture("storm"),
        Chart::distribution("Reads beside the storm", "p99 of a read beside, from due"),
    ],
};

/// Shapes that come in storms have numbers from here on.
const NEW: u64 = 1 << 41;

struct Round {
    served: Latencies,
    reads: Paced,
    rate: f64,
}

fn run(run: &mut Run<'_>) -> Result {
    let clients: u64 = run.scale.pick([4, 64, 256, 256]);
    let shapes: u64 = run.scale.pick([10, 200, 200, 200]);
    let longest = Duration::from_millis(run.scale.pick([50, 300, 3_000, 3_000]));
    let there = run.scale.pick([500, 10_000, 100_000, 100_000]);
    let filling = Filling { name: "plain", shapes: there, shape: sample::shape };
    let picks = Picks::of(there, there.min(10_000));
    let mut opened = run.open_filled(&run.candidates(there), filling)?;
    let mut turn = 0;
    let rows = run.in_turn(&mut opened, |subject| {
        turn += 1;
        round(&**subject, clients, shapes, longest, NEW + turn * 10_000_000, &picks)
    })?;
    let rate = Measure::higher("served", "shapes/s").at(clients, "clients");
    run.tell(&rows, rate, |round| Some(round.rate))?;
    let shape = Measure::lower("a shape, from due", "us").at(clients, "clients");
    run.tell_latencies(&rows, shape, |round| &round.served)?;
    let read = Measure::lower("a read beside, from due", "us").at(clients, "clients");
    run.tell_latencies(&rows, read, |round| &round.reads.due)
}

fn round(
    subject: &dyn Subject,
    clients: u64,
    shapes: u64,
    longest: Duration,
    from: u64,
    picks: &Picks,
) -> Result<Round> {
    let start = Barrier::new(clients as usize + 2);
    let (served, reads, due, ended) = thread::scope(|scope| {
        let storm: Vec<_> = (0..clients)
            .map(|client| {
                let numbers = from + client * shapes..from + (client + 1) * shapes;
                let start = &start;
                scope.spawn(move || {
                    let wanted: Vec<_> = numbers.map(sample::shape).collect();
                    let client = subject.client();
                    start.wait();
                    serve(&mut *client?, wanted, longest)
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let client = subject.client();
            start.wait();
            picks.paced(&mut *client?, Read::Metadata, 2_000, longest.min(Duration::from_millis(300)))
        });
        start.wait();
        let due = Instant::now();
        let mut times = Vec::new();
        for client in storm {
            times.push(client.join().map_err(|_| "a client panicked")??);
        }
        let reads = reader.join().map_err(|_| "the reader panicked")??;
        let ended = times.iter().flatten().copied().max().ok_or("a client was served")?;
        Ok::<_, crate::BoxError>((times, reads, due, ended))
    })?;
    subject.flush()?;
    let mut latencies = Latencies::default();
    served.iter().flatten().for_each(|at| latencies.record(at.saturating_duration_since(due)));
    // As it was, for the next round.
    let mut client = subject.client()?;
    for (number, times) in served.iter().enumerate() {
        let first = from + number as u64 * shapes;
        (first..first + times.len() as u64).try_for_each(|number| client.remove(&sample::handle(number)))?;
    }
    drop(client);
    subject.flush()?;
    let rate = latencies.len() as f64 / ended.saturating_duration_since(due).as_secs_f64();
    Ok(Round { served: latencies, reads, rate })
}

/// When each shape was there.
fn serve(
    client: &mut dyn Client,
    wanted: Vec<shape_meta::NewShape>,
    longest: Duration,
) -> Result<Vec<Instant>> {
    let begun = Instant::now();
    let mut times = Vec::with_capacity(wanted.len());
    for shape in wanted {
        let (handle, hash) = (shape.handle.clone(), shape.hash.get());
        if client.handle_for(&shape.key)?.is_some() {
            return Err("a new shape was there already".into());
        }
        client.add(shape)?;
        if client.facts(&handle)?.is_none_or(|facts| facts.hash != hash) {
            return Err("a shape that was added is not there".into());
        }
        times.push(Instant::now());
        if begun.elapsed() > longest {
            break;
        }
    }
    Ok(times)
}
