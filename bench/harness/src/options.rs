use std::path::PathBuf;

use clap::{Parser, builder::PossibleValuesParser};

use crate::{scale::Scale, workload};

/// Measures shape-meta, what bounds it and what else there is, in one run.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench", after_help = AFTER)]
pub(crate) struct Options {
    /// How large: `quick` takes under a minute on two idle cores, `full` goes to a million shapes, `huge` to
    /// ten million.
    #[arg(long, value_enum, default_value_t = Scale::Quick)]
    pub(crate) scale: Scale,

    /// The same as --scale quick.
    #[arg(long, conflicts_with_all = ["scale", "full"])]
    quick: bool,

    /// The same as --scale full.
    #[arg(long, conflicts_with = "scale")]
    full: bool,

    /// Only these workloads; --list names them.
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',', value_parser = workloads())]
    pub(crate) only: Vec<String>,

    /// Only on these compositions and peers, by name. Default: at quick scale the product and the direct
    /// composition, and all peers there are; otherwise everything.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) subjects: Vec<String>,

    /// Rounds of each measurement, after one that does not count. Default: 3 at quick scale, otherwise 5.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) rounds: Option<u16>,

    /// Where to make the databases. Default: a temporary directory, which is removed afterwards.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Also write everything as JSON: for --baseline.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Compare with an earlier --json, and fail if something got worse beyond noise.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,

    /// Write a report to read in a browser, `index.html` in this directory; it needs no network.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,

    /// Write the main pictures as SVG files into this directory, for documents.
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,

    /// Measure nothing, and take the figures of an earlier --json: for --report, --pictures and --baseline.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,

    /// Name the workloads and the candidates, and measure nothing.
    #[arg(long)]
    pub(crate) list: bool,

    /// Used by the program itself: opens what is in --dir with this candidate and prints what that took.
    #[arg(long, hide = true, requires = "dir")]
    pub(crate) boot: Option<String>,

    /// Used by the program itself: opens so many stores in --dir and prints what they take.
    #[arg(long, hide = true, requires = "dir")]
    pub(crate) tenants: Option<usize>,
}

const AFTER: &str = "\
`cargo xtask bench --peers` measures other stores in the same run; they are compiled for it alone.
`cargo xtask bench --instructions` counts the instructions of hot paths instead, which needs valgrind.";

fn workloads() -> PossibleValuesParser {
    PossibleValuesParser::new(workload::ALL.iter().map(|workload| workload.name))
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
