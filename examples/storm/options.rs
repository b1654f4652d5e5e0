use std::{ops::RangeInclusive, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};

use crate::{Result, composition::Composition};

pub(crate) const HELP: &str = "\
Plays a redeploy storm on the direct and on the buffered composition, and compares them.

Usage: storm [OPTION]...

Options:
  --trace FILE    A trace of definitions, one JSON object a line [default: examples/sample.jsonl]
  --clients N     The number of clients that request shapes at the same time, 1 to 4096 [default: 64]
  --readers N     The number of threads that keep reading, 0 to 256 [default: 2]
  --dir DIR       Where to create the databases [default: a temporary directory, which is removed afterwards]
  --only LIST     The compositions to play on, separated by commas: direct, direct-cached, buffered-sqlite, buffered
                  [default: direct,buffered]
  -h, --help      Print this help
";

/// The request of the command line.
pub(crate) enum Command {
    Play(Options),
    Help,
}

pub(crate) struct Options {
    pub(crate) trace: PathBuf,
    pub(crate) clients: usize,
    pub(crate) readers: usize,
    /// The directory of the databases, or `None` for a temporary one.
    pub(crate) directory: Option<PathBuf>,
    only: Vec<Composition>,
}

impl Options {
    /// Parses the arguments of this process.
    pub(crate) fn parse() -> Result<Command> {
        let mut options = Self {
            trace: concat!(env!("CARGO_MANIFEST_DIR"), "/../sample.jsonl").into(),
            clients: 64,
            readers: 2,
            directory: None,
            only: Vec::new(),
        };
        let mut arguments = Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("trace") => options.trace = arguments.value()?.into(),
                Arg::Long("clients") => options.clients = number("clients", &mut arguments, 1..=4_096)?,
                Arg::Long("readers") => options.readers = number("readers", &mut arguments, 0..=256)?,
                Arg::Long("dir") => options.directory = Some(arguments.value()?.into()),
                Arg::Long("only") => {
                    for name in arguments.value()?.string()?.split(',') {
                        options.only.push(Composition::parse(name)?);
                    }
                }
                Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
                other => return Err(format!("{}; --help prints the options", other.unexpected()).into()),
            }
        }
        Ok(Command::Play(options))
    }

    /// Returns the compositions to play on.
    pub(crate) fn compositions(&self) -> Vec<Composition> {
        if self.only.is_empty() {
            vec![Composition::Direct, Composition::Buffered]
        } else {
            self.only.clone()
        }
    }
}

fn number(option: &str, arguments: &mut Parser, range: RangeInclusive<usize>) -> Result<usize> {
    let value: usize = arguments.value()?.parse()?;
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("--{option} {value} is not in the range {} to {}", range.start(), range.end()).into())
}
