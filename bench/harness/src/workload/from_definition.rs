use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use shape_meta::{Definition, DefinitionExt, Handle, NewShape, Shape};

use super::definition::{Chart, Workload};
use crate::{
    Client, Result, Store,
    data::sample,
    probe::Latencies,
    result::{Measure, Target},
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "from-a-definition",
    about: "what a caller does, who has a definition and no key yet: 1 to 64 clients add shapes, then look handles \
            up and validate them (closed loop), and each call computes the key. The twin of the workloads that \
            start from prepared shapes",
    run,
    charts: &[Chart::lines("Adds acknowledged, from a definition", "acknowledged")],
};

struct Round {
    acknowledged: f64,
    add: Latencies,
    lookup: Latencies,
    validation: Latencies,
}

/// What one client has measured.
struct Times {
    start: Instant,
    added: Instant,
    add: Latencies,
    lookup: Latencies,
    validation: Latencies,
}

fn run(run: &mut Run<'_>) -> Result {
    let shapes = run.scale.pick([200, 10_000, 50_000, 50_000]);
    let max_time = Duration::from_millis(run.scale.pick([50, 100, 1_000, 1_000]));
    let clients: &[u64] = run.scale.pick([&[1, 8], &[1, 8], &[1, 8, 64], &[1, 8, 64]]);
    for clients in clients.iter().copied() {
        let candidates = run.candidates(shapes);
        let rows = run.measure_in_new_directories(&candidates, |candidate, directory| {
            round(&*candidate.open(directory, shapes)?, clients, shapes / clients, max_time)
        })?;
        run.record(&rows, Measure::higher("acknowledged", "shapes/s").at(clients, "clients"), |round| {
            Some(round.acknowledged)
        });
        let measure = |name: &str| Measure::lower(name, "us").at(clients, "clients");
        run.record_latencies(&rows, measure("an add"), |round| &round.add);
        run.record_latencies(&rows, measure("a look-up of a handle"), |round| &round.lookup);
        let validation = measure("a validation").target_if(clients == 1, Target::Most(1.0));
        run.record_latencies(&rows, validation, |round| &round.validation);
    }
    Ok(())
}

fn round(store: &dyn Store, clients: u64, each: u64, max_time: Duration) -> Result<Round> {
    let start = Barrier::new(clients as usize);
    let all: Vec<Times> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let all: Vec<_> = (client * each..(client + 1) * each)
                    .map(|number| (sample::handle(number), sample::definition(number)))
                    .collect();
                let start = &start;
                scope.spawn(move || {
                    let client = store.client();
                    start.wait();
                    calls(&mut *client?, &all, max_time)
                })
            })
            .collect();
        threads.into_iter().map(|one| one.join().map_err(|_| "a client panicked")?).collect::<Result<_>>()
    })?;
    let start = all.iter().map(|one| one.start).min().ok_or("there is a client")?;
    let added = all.iter().map(|one| one.added).max().ok_or("there is a client")?;
    let sum = |latencies: fn(&Times) -> &Latencies| all.iter().map(|one| latencies(one).clone()).collect();
    let add: Latencies = sum(|one| &one.add);
    Ok(Round {
        acknowledged: add.len() as f64 / (added - start).as_secs_f64(),
        add,
        lookup: sum(|one| &one.lookup),
        validation: sum(|one| &one.validation),
    })
}

fn calls(client: &mut dyn Client, all: &[(Handle, Shape)], max_time: Duration) -> Result<Times> {
    let start = Instant::now();
    let (mut added, mut add) = (start, Latencies::default());
    for (handle, definition) in all {
        let from = Instant::now();
        client.add(NewShape::of(handle.clone(), definition))?;
        added = Instant::now();
        add.record(added - from);
        if added - start > max_time {
            break;
        }
    }
    let (mut lookup, mut validation) = (Latencies::default(), Latencies::default());
    for (handle, definition) in &all[..add.len() as usize] {
        let from = Instant::now();
        let found = client.handle_for(&definition.key())?;
        lookup.record(from.elapsed());
        if found.as_ref() != Some(handle) {
            return Err(format!("the definition of {handle} is found as {found:?}").into());
        }
        let from = Instant::now();
        let facts = client.facts(handle)?;
        let valid = facts.is_some_and(|facts| facts.hash == definition.definition_hash().get());
        validation.record(from.elapsed());
        if !valid {
            return Err(format!("{handle} has another definition").into());
        }
    }
    Ok(Times { start, added, add, lookup, validation })
}
