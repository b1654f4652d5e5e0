//! The command line: what it runs, and where the results go.

mod options;

use std::{fs, path::Path, process::ExitCode, time::Instant};

use clap::Parser;

use crate::{
    Candidate, Kind, Result,
    candidate::{self, Backend, DEFINITIONS, DIRECT, FULL_STACK},
    data::Scale,
    report,
    result::{self, Machine, Outcome},
    run::Run,
    workload,
};
use options::Options;

pub(crate) fn run(peers: Vec<Box<dyn Candidate>>) -> Result<ExitCode> {
    let options = Options::parse();
    let mut all = candidate::all();
    all.extend(peers);
    all.retain(|one| one.is_over_postgres() == (options.store == Backend::Postgres));
    if options.list {
        list(&options, &all);
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(name), Some(directory)) = (&options.boot, &options.dir) {
        return workload::boot::child(find(&all, name)?, directory).map(|()| ExitCode::SUCCESS);
    }
    if let (Some(stores), Some(directory)) = (options.tenants, &options.dir) {
        match options.store {
            Backend::Sqlite => workload::tenants::child(options.scale(), directory, stores)?,
            Backend::Postgres => workload::stacks::child(directory, stores)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let before = options.baseline.as_deref().map(Outcome::read).transpose()?;
    let outcome = match &options.from {
        Some(earlier) => {
            let outcome = Outcome::read(earlier)?;
            for workload in workload::over(outcome.store) {
                print_table(outcome.figures_of(workload.name));
            }
            outcome
        }
        None => measure(&options, &all)?,
    };
    if let Some(directory) = &options.report {
        println!("{}", report::write(&outcome, workload::over(outcome.store), directory)?.display());
    }
    if let Some(directory) = &options.pictures {
        report::pictures(&outcome, workload::over(outcome.store), directory)?;
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&outcome)?)?;
    }
    Ok(match before.map(|before| result::compare(&before, &outcome)).transpose()? {
        Some(comparison) => {
            println!("{comparison}");
            if comparison.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => ExitCode::SUCCESS,
    })
}

fn list(options: &Options, all: &[Box<dyn Candidate>]) {
    println!("Workloads:\n");
    let workloads = workload::over(options.store);
    workloads.iter().for_each(|one| println!("  {}: {}", one.name, one.about));
    println!("\nCompositions and peers:\n");
    all.iter().for_each(|one| println!("  {}: {}", one.name(), one.about()));
}

fn find<'a>(all: &'a [Box<dyn Candidate>], name: &str) -> Result<&'a dyn Candidate> {
    let found = all.iter().find(|one| one.name() == name);
    let names = || all.iter().map(|one| format!("{:?}", one.name())).collect::<Vec<_>>().join(", ");
    Ok(&**found.ok_or_else(|| format!("unknown candidate {name:?}; the candidates are {}", names()))?)
}

/// Returns the candidates that the command line selects.
fn select<'a>(options: &Options, all: &'a [Box<dyn Candidate>]) -> Result<Vec<&'a dyn Candidate>> {
    if !options.candidates.is_empty() {
        return options.candidates.iter().map(|name| find(all, name)).collect();
    }
    let is_quick = |one: &&dyn Candidate| {
        one.kind() == Kind::Peer || [FULL_STACK.name(), DIRECT.name()].contains(&one.name())
    };
    let all = all.iter().map(|one| &**one);
    Ok(if options.scale() <= Scale::Quick { all.filter(is_quick).collect() } else { all.collect() })
}

/// Runs the selected workloads, and prints a table after each.
fn measure(options: &Options, all: &[Box<dyn Candidate>]) -> Result<Outcome> {
    let temporary = tempfile::tempdir()?;
    let root: &Path = options.dir.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(root)?;
    let machine = Machine::detect(root, options.store)?;
    machine.facts().iter().for_each(|(name, fact)| println!("{name}: {fact}"));

    let candidates = select(options, all)?;
    let mut described: Vec<_> =
        candidates.iter().map(|one| (one.name().to_owned(), one.about().to_owned())).collect();
    let start = Instant::now();
    let named = !options.candidates.is_empty();
    let mut run = Run::new(options.store, options.scale(), options.rounds(), root, candidates, named);
    for workload in workload::over(options.store) {
        if options.only.is_empty() || options.only.iter().any(|name| name == workload.name) {
            let start = Instant::now();
            run.begin(workload.name);
            (workload.run)(&mut run).map_err(|error| format!("{}: {error}", workload.name))?;
            println!("\n{} ({:.1} s): {}", workload.name, start.elapsed().as_secs_f64(), workload.about);
            print_table(run.current_figures());
        }
    }
    // One workload alone measures it.
    if run.figures().iter().any(|figure| figure.candidate == DEFINITIONS.name()) {
        described.push((DEFINITIONS.name().to_owned(), DEFINITIONS.about().to_owned()));
    }
    Ok(Outcome {
        machine,
        store: options.store,
        command: command(),
        scale: run.scale,
        rounds: run.rounds,
        seconds: start.elapsed().as_secs(),
        candidates: described,
        figures: run.into_figures(),
    })
}

fn print_table<'a>(figures: impl Iterator<Item = &'a result::Figure>) {
    let figures: Vec<_> = figures.collect();
    if !figures.is_empty() {
        println!("{}", report::table(&figures));
    }
}

/// Returns the command line as a user would type it.
fn command() -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    if std::env::args().next().is_some_and(|program| program.ends_with("peers")) {
        words.push("--peers".to_owned());
    }
    words.extend(std::env::args().skip(1));
    words.join(" ")
}
