use std::{path::PathBuf, time::Instant};

use super::definition::{Chart, Workload};
use crate::{
    Candidate, Kind, Result, Store,
    candidate::{Backend, Schema},
    data::sample,
    probe::memory,
    result::{Measure, Target},
    run::{Filling, Row, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "growth",
    about: "one client fills a database with complete shapes as fast as it can (closed loop, best batches, synced); the \
            candidates alternate after each tenth, or fifth at quick scale: the durable rate and the file size. Limit: the bare database",
    run,
    charts: &[Chart::lines("Durable rate while filling", "durable").picture("growth")],
};

fn run(run: &mut Run<'_>) -> Result {
    let parts = run.scale.pick([5, 5, 10, 10]);
    let shapes = run.scale.pick([1_000, 100_000, 1_000_000, 10_000_000]);
    let mut candidates = run.candidates(shapes);
    // Without batches this takes too long.
    candidates
        .retain(|one| one.kind() == Kind::Peer || ["full stack", "look-ups on disk"].contains(&one.name()));
    let bare = run.backend.bare();
    candidates.push(bare);
    let filling = Filling { name: "plain", shapes, shape: sample::shape };
    let limit = run.directory()?;
    let directories: Vec<PathBuf> = candidates
        .iter()
        .map(|one| match one.kind() {
            Kind::Limit => Ok(limit.path().to_owned()),
            _ => run.new_filled(*one, filling),
        })
        .collect::<Result<_>>()?;
    let opened = candidates.iter().zip(&directories);
    let opened: Vec<(&dyn Candidate, Box<dyn Store>)> = opened
        .map(|(candidate, directory)| Ok((*candidate, candidate.open(directory, shapes)?)))
        .collect::<Result<_>>()?;

    let each = shapes / parts;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); opened.len()];
    for part in 0..parts {
        let added: Vec<_> = (part * each..(part + 1) * each).map(sample::shape).collect();
        let mut rows = Vec::new();
        for ((candidate, store), rates) in opened.iter().zip(&mut rates) {
            let start = Instant::now();
            store.fill(&added)?;
            let rate = each as f64 / start.elapsed().as_secs_f64();
            rates.push(rate);
            rows.push(Row { candidate: candidate.name(), rounds: vec![rate] });
        }
        let durable = Measure::higher("durable", "shapes/s").at((part + 1) * each, "shapes");
        run.record(&rows, durable.limit(bare.name()), |rate| Some(*rate));
    }
    for (rates, (candidate, _)) in rates.iter().zip(&opened) {
        let last = Measure::higher("rate of the last part / of the second", "");
        let rows = [Row { candidate: candidate.name(), rounds: vec![rates[rates.len() - 1] / rates[1]] }];
        run.record(&rows, last.target(Target::Least(0.8)), |share| Some(*share));
    }
    let overall = |rates: &Vec<f64>| shapes as f64 / rates.iter().map(|rate| each as f64 / rate).sum::<f64>();
    let rows = rates
        .iter()
        .zip(&opened)
        .map(|(rates, (candidate, _))| Row { candidate: candidate.name(), rounds: vec![overall(rates)] });
    let whole = Measure::higher("durable, overall", "shapes/s").limit(bare.name());
    let whole = match run.backend {
        Backend::Sqlite => whole.target_if(shapes == 1_000_000, Target::Least(210_000.0)),
        Backend::Postgres => whole.target(Target::LeastTimesLimit(0.8)),
    };
    run.record(&rows.collect::<Vec<_>>(), whole, |rate| Some(*rate));
    let names: Vec<_> = opened.iter().map(|(candidate, _)| candidate.name()).collect();
    // Closing checkpoints the WAL.
    drop(opened);
    for (candidate, directory) in names.into_iter().zip(&directories) {
        let bytes = match Schema::known(directory)? {
            Some(schema) => schema.size()?,
            None => memory::on_disk(directory, "")?,
        };
        let bytes = bytes as f64 / (shapes * sample::RECORD) as f64;
        let size = Measure::lower("bytes on disk per byte of the records", "");
        let size = size.target_if(run.backend == Backend::Sqlite, Target::Most(1.6));
        let rows = [Row { candidate, rounds: vec![bytes] }];
        run.record(&rows, size, |bytes| Some(*bytes));
    }
    Ok(())
}
