use std::{collections::BTreeSet, path::PathBuf};

use clap::{Parser, builder::PossibleValuesParser};

use crate::{candidate::Backend, data::Scale, workload};

/// Measures shape-meta, its limits and its peers in one run.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench", after_help = AFTER)]
pub(crate) struct Options {
    /// The size: `quick` takes a minute on two idle cores, `full` uses up to a million shapes,
    /// `huge` up to ten million.
    #[arg(long, value_enum, default_value_t = Scale::Quick)]
    pub(crate) scale: Scale,

    /// Equals --scale quick.
    #[arg(long, conflicts_with_all = ["scale", "full"])]
    quick: bool,

    /// Equals --scale full.
    #[arg(long, conflicts_with = "scale")]
    full: bool,

    /// The database below the full stack. `postgres` starts a private server, and measures what depends on
    /// the database; --list prints the workloads and candidates of each.
    #[arg(long, value_enum, default_value_t = Backend::Sqlite)]
    pub(crate) store: Backend,

    /// Run only these workloads; --list prints them.
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',', value_parser = workloads())]
    pub(crate) only: Vec<String>,

    /// Measure only these compositions and peers. Default: at quick scale the full stack, the direct
    /// composition and all peers; otherwise all.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) candidates: Vec<String>,

    /// The number of rounds, after a discarded warm-up. Default: 3 at quick scale, otherwise 5.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: Option<u16>,

    /// Create the databases in this directory. Default: a temporary directory, which is removed afterwards.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Also write the results as JSON, for --baseline and --from.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Compare with the file of an earlier --json, and fail if a figure is worse by more than the noise.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,

    /// Write a report for a browser to `index.html` in this directory. It needs no network.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,

    /// Write the main charts as SVG files into this directory, for documents.
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,

    /// Measure nothing, and use the figures of an earlier --json, for --report, --pictures and --baseline.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,

    /// Print the workloads and the candidates, and measure nothing.
    #[arg(long)]
    pub(crate) list: bool,

    /// For child processes: opens the database in --dir with this candidate, and prints the cost.
    #[arg(long, hide = true, requires = "dir")]
    pub(crate) boot: Option<String>,

    /// For child processes: opens this number of stores in --dir, and prints their cost.
    #[arg(long, hide = true, requires = "dir")]
    pub(crate) tenants: Option<usize>,
}

const AFTER: &str = "\
`cargo xtask bench --peers` also measures other stores; no other command compiles them.
`cargo xtask bench --instructions` counts the instructions of hot paths instead, and needs valgrind.";

fn workloads() -> PossibleValuesParser {
    let all = [Backend::Sqlite, Backend::Postgres].map(|backend| workload::over(backend).iter());
    let names: BTreeSet<_> = all.into_iter().flatten().map(|workload| workload.name).collect();
    PossibleValuesParser::new(names)
}

impl Options {
    pub(crate) fn scale(&self) -> Scale {
        match (self.quick, self.full) {
            (true, _) => Scale::Quick,
            (_, true) => Scale::Full,
            _ => self.scale,
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.map_or_else(|| self.scale().rounds(), usize::from)
    }
}
