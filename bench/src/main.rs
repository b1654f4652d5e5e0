//! The benchmarks of shape-meta: each figure beside its limit (the same work without us) where there is
//! one, measured in the same run, each round in turn so that drift cancels.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

mod acknowledge;
mod bare;
mod bare_map;
mod durable;
mod figure;
mod filled;
mod machine;
mod memory;
mod reads;
mod sample;

use figure::Figure;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Measures shape-meta, and what bounds it, in one run.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// How large: `quick` takes about a minute, `full` goes to a million shapes.
    #[arg(long, value_enum, default_value_t = Scale::Quick)]
    scale: Scale,

    /// Only these workloads.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,

    /// Rounds of each measurement; the median is reported, with the lowest and the highest.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Where to make the databases. Default: a temporary directory, which is removed afterwards.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Used by the program itself: opens the database in this directory and prints what that took.
    #[arg(long, hide = true)]
    measure_memory: Option<PathBuf>,

    /// Used by the program itself: with look-ups left on disk.
    #[arg(long, hide = true)]
    on_disk: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scale {
    Quick,
    Full,
}

impl Scale {
    /// Shapes in the filled database.
    fn shapes(self) -> u64 {
        match self {
            Self::Quick => 200_000,
            Self::Full => 1_000_000,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Adds into memory: rate of one thread and of eight, latency with 64.
    Acknowledge,
    /// Shapes on disk, end to end, against a bare loop over the same tables.
    Durable,
    /// Filling a database: does the rate fall as it grows?
    Growth,
    /// Reads of one shape through the whole stack, against a bare evmap.
    Reads,
    /// Shapes of a relation, and those not read for longest, with changes pending.
    Lists,
    /// Opening a filled database, and the memory that it takes then.
    Memory,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result {
    if let Some(directory) = &options.measure_memory {
        return memory::measure(directory, options.on_disk);
    }
    println!("{}\n", machine::describe());
    let temporary = tempfile::tempdir()?;
    let root = options.dir.as_deref().unwrap_or(temporary.path());
    let (shapes, rounds) = (options.scale.shapes(), usize::from(options.rounds));
    let wants = |workload| options.only.is_empty() || options.only.contains(&workload);

    let mut figures = Vec::new();
    let mut tell = |measured: Vec<Figure>| {
        measured.iter().for_each(|figure| println!("{figure}"));
        figures.extend(measured);
    };
    if wants(Workload::Acknowledge) {
        tell(acknowledge::run(root, rounds)?);
    }
    if wants(Workload::Durable) {
        tell(durable::run(root, shapes.min(300_000), rounds)?);
    }
    let filled = root.join("filled");
    let needs_filled = [Workload::Growth, Workload::Reads, Workload::Lists, Workload::Memory];
    if needs_filled.into_iter().any(wants) {
        tell(filled::fill(&filled, shapes)?);
    }
    if wants(Workload::Reads) {
        tell(reads::single(root, 10_000, rounds)?);
        tell(reads::single_in(&filled, shapes, rounds)?);
    }
    if wants(Workload::Lists) {
        tell(reads::lists(&filled, shapes, rounds)?);
    }
    if wants(Workload::Memory) {
        tell(memory::run(&filled, shapes)?);
    }
    println!("\n{}", figure::table(&figures));
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    Ok(())
}
