use std::time::Instant;

use super::{Chart, Workload};
use crate::{
    Candidate, Kind, Result, Subject,
    figure::Target,
    memory,
    run::{Measure, Row, Run},
    sample,
    subject::BareSqlite,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "growth",
    about: "one client fills a database with complete shapes as fast as it can (closed loop, best batches, synced), \
            each candidate a tenth in turn: does the durable rate fall, and how large is the file? Limit: a bare \
            rusqlite loop",
    run,
    charts: &[Chart::lines("Durable rate while filling", "durable").picture("growth")],
};

const PARTS: u64 = 10;

fn run(run: &mut Run<'_>) -> Result {
    let shapes = run.scale.pick([1_000, 200_000, 1_000_000, 10_000_000]);
    let mut contestants = run.candidates(shapes);
    // Without batches this takes for ever.
    contestants
        .retain(|one| one.kind() == Kind::Peer || ["full stack", "look-ups on disk"].contains(&one.name()));
    contestants.push(&BareSqlite);
    let directories: Vec<_> = contestants.iter().map(|_| run.directory()).collect::<Result<_>>()?;
    let opened = contestants.iter().zip(&directories);
    let opened: Vec<(&dyn Candidate, Box<dyn Subject>)> = opened
        .map(|(candidate, directory)| Ok((*candidate, candidate.open(directory.path(), shapes)?)))
        .collect::<Result<_>>()?;

    let each = shapes / PARTS;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); opened.len()];
    for part in 0..PARTS {
        let added: Vec<_> = (part * each..(part + 1) * each).map(sample::shape).collect();
        let mut rows = Vec::new();
        for ((candidate, subject), rates) in opened.iter().zip(&mut rates) {
            let begun = Instant::now();
            subject.fill(&added)?;
            let rate = each as f64 / begun.elapsed().as_secs_f64();
            rates.push(rate);
            rows.push(Row { subject: candidate.name(), rounds: vec![rate] });
        }
        let durable = Measure::higher("durable", "shapes/s").at((part + 1) * each, "shapes");
        run.tell(&rows, durable.limit("bare rusqlite"), |rate| Some(*rate))?;
    }
    for (rates, (candidate, _)) in rates.iter().zip(&opened) {
        let last = Measure::higher("the last tenth as a share of the second", "");
        let rows = [Row { subject: candidate.name(), rounds: vec![rates[9] / rates[1]] }];
        run.tell(&rows, last.target(Target::Least(0.8)), |share| Some(*share))?;
        let seconds: f64 = rates.iter().map(|rate| each as f64 / rate).sum();
        let rows = [Row { subject: candidate.name(), rounds: vec![shapes as f64 / seconds] }];
        let whole = Measure::higher("durable on the whole", "shapes/s");
        run.tell(&rows, whole.target_if(shapes == 1_000_000, Target::Least(210_000.0)), |rate| Some(*rate))?;
    }
    let names: Vec<_> = opened.iter().map(|(candidate, _)| candidate.name()).collect();
    // Closed, so that logs are folded in.
    drop(opened);
    for (subject, directory) in names.into_iter().zip(&directories) {
        let bytes = memory::on_disk(directory.path(), "")? as f64 / (shapes * sample::RECORD) as f64;
        let size = Measure::lower("bytes on disk for each byte of the records", "").target(Target::Most(1.6));
        let rows = [Row { subject, rounds: vec![bytes] }];
        run.tell(&rows, size, |bytes| Some(*bytes))?;
    }
    Ok(())
}
