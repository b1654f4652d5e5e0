use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use shape_meta::{DefinitionExt, Handle, NewShape, Shape};

use super::{
    definition::{Chart, Workload},
    random_reads::{RandomReads, Read},
};
use crate::{
    BoxError, Client, Result, Store,
    data::sample,
    probe::{Latencies, OpenLoop, open_loop},
    result::Measure,
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "redeploy-storm",
    about: "all clients start at once with some shapes each: a client looks up a shape by key, does not find it, adds \
            it, and checks its handle. All shapes are due when the storm begins (open loop). Another client reads \
            at 2,000 per second meanwhile. Shapes after the time limit are not counted. Then the same from \
            definitions, with compositions of shape-meta: the reader validates handles against definitions",
    run,
    charts: &[
        Chart::distribution("When a client has its shape", "p99 of a shape, response time").picture("storm"),
        Chart::distribution("Reads during the storm", "p99 of a read, response time"),
    ],
};

/// The first number of the shapes that a storm adds.
const NEW: u64 = 1 << 41;
/// The first number of the shapes that a client validates against their definitions.
const DEFINED: u64 = 1 << 40;

struct Round {
    served: Latencies,
    reads: OpenLoop,
    rate: f64,
}

fn run(run: &mut Run<'_>) -> Result {
    let clients: u64 = run.scale.pick([4, 64, 256, 256]);
    let shapes: u64 = run.scale.pick([10, 200, 200, 200]);
    let max_time = Duration::from_millis(run.scale.pick([50, 120, 3_000, 3_000]));
    let existing = run.scale.pick([500, 10_000, 100_000, 100_000]);
    let filling = Filling { name: "plain", shapes: existing, shape: sample::shape };
    let random_reads = RandomReads::new(existing, existing.min(10_000));
    let mut opened = run.open_filled(&run.candidates(existing), filling)?;
    let size = Size { clients, shapes, max_time };
    let mut number = 0;
    let rows = run.measure_rounds(&mut opened, |store| {
        number += 1;
        let read = |client: &mut dyn Client, at| random_reads.read(client, Read::Metadata, at as usize);
        round(&**store, size, NEW + number * 10_000_000, &PREPARED, &read)
    })?;
    let rate = Measure::higher("served", "shapes/s").at(clients, "clients");
    run.record(&rows, rate, |round| Some(round.rate));
    let shape = Measure::lower("a shape, response time", "us").at(clients, "clients");
    run.record_latencies(&rows, shape, |round| &round.served);
    let read = Measure::lower("a read, response time", "us").at(clients, "clients");
    run.record_latencies(&rows, read, |round| &round.reads.response);

    // The key of a definition takes all stores the same time.
    opened.retain(|(_, store)| store.shape_meta().is_some());
    let known: Vec<_> = (DEFINED..DEFINED + 1_000).map(from_definition).collect();
    let rows = run.measure_rounds(&mut opened, |store| {
        number += 1;
        let mut client = store.client()?;
        known.iter().try_for_each(|(handle, shape)| client.add(NewShape::of(handle.clone(), shape)))?;
        store.flush()?;
        let read = |client: &mut dyn Client, at| {
            let (handle, shape) = &known[(sample::mix(at) % known.len() as u64) as usize];
            let facts = client.facts(handle)?;
            let valid = facts.is_some_and(|facts| facts.hash == shape.definition_hash().get());
            if valid { Ok(()) } else { Err(format!("{handle} has another definition").into()) }
        };
        let measured = round(&**store, size, NEW + number * 10_000_000, &DEFINITIONS, &read)?;
        known.iter().try_for_each(|(handle, _)| client.remove(handle))?;
        Ok(measured)
    })?;
    let shape = Measure::lower("a shape from a definition, response time", "us").at(clients, "clients");
    run.record_latencies(&rows, shape, |round| &round.served);
    let validation = Measure::lower("a validation, response time", "us").at(clients, "clients");
    run.record_latencies(&rows, validation, |round| &round.reads.response);
    Ok(())
}

/// What the clients of a storm start from.
struct Wanted<T> {
    prepare: fn(u64) -> T,
    shape: fn(T) -> NewShape,
}

const PREPARED: Wanted<NewShape> = Wanted { prepare: sample::shape, shape: |shape| shape };
const DEFINITIONS: Wanted<(Handle, Shape)> =
    Wanted { prepare: from_definition, shape: |(handle, shape)| NewShape::of(handle, &shape) };

fn from_definition(number: u64) -> (Handle, Shape) {
    (sample::handle(number), sample::definition(number))
}

#[derive(Clone, Copy)]
struct Size {
    clients: u64,
    shapes: u64,
    max_time: Duration,
}

fn round<T: Send>(
    store: &dyn Store,
    Size { clients, shapes, max_time }: Size,
    from: u64,
    wanted: &Wanted<T>,
    read: &(dyn Fn(&mut dyn Client, u64) -> Result + Sync),
) -> Result<Round> {
    let start = Barrier::new(clients as usize + 2);
    let (served, reads) = thread::scope(|scope| {
        let storm: Vec<_> = (0..clients)
            .map(|client| {
                let numbers = from + client * shapes..from + (client + 1) * shapes;
                let start = &start;
                scope.spawn(move || {
                    let shapes: Vec<_> = numbers.map(wanted.prepare).collect();
                    let client = store.client();
                    start.wait();
                    serve(&mut *client?, shapes, wanted.shape, max_time)
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let client = store.client();
            start.wait();
            let mut client = client?;
            open_loop(2_000, max_time.min(Duration::from_millis(300)), |at| read(&mut *client, at))
        });
        start.wait();
        let mut served = Vec::new();
        for client in storm {
            served.push(client.join().map_err(|_| "a client panicked")??);
        }
        let reads = reader.join().map_err(|_| "the reader panicked")??;
        Ok::<_, BoxError>((served, reads))
    })?;
    store.flush()?;
    // The storm begins with its first client. On a busy machine, this thread may run later than all of them.
    let due = served.iter().map(|client| client.start).min().ok_or("the storm has no clients")?;
    let ended = served.iter().flat_map(|client| &client.times).max().ok_or("no shape was served")?;
    let mut latencies = Latencies::default();
    served.iter().flat_map(|client| &client.times).for_each(|at| latencies.record(*at - due));
    // Restores the content for the next round.
    let mut client = store.client()?;
    for (number, served) in served.iter().enumerate() {
        let first = from + number as u64 * shapes;
        (first..first + served.times.len() as u64)
            .try_for_each(|number| client.remove(&sample::handle(number)))?;
    }
    drop(client);
    store.flush()?;
    let rate = latencies.len() as f64 / (*ended - due).as_secs_f64();
    Ok(Round { served: latencies, reads, rate })
}

/// The time at which a client began, and the times at which its shapes were available.
struct Served {
    start: Instant,
    times: Vec<Instant>,
}

fn serve<T>(
    client: &mut dyn Client,
    wanted: Vec<T>,
    shape: fn(T) -> NewShape,
    max_time: Duration,
) -> Result<Served> {
    let start = Instant::now();
    let mut times = Vec::with_capacity(wanted.len());
    for shape in wanted.into_iter().map(shape) {
        let (handle, hash) = (shape.handle.clone(), shape.hash.get());
        if client.handle_for(&shape.key)?.is_some() {
            return Err("a new shape already exists".into());
        }
        client.add(shape)?;
        if client.facts(&handle)?.is_none_or(|facts| facts.hash != hash) {
            return Err("an added shape is missing".into());
        }
        times.push(Instant::now());
        if start.elapsed() > max_time {
            break;
        }
    }
    Ok(Served { start, times })
}
