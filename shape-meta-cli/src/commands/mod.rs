//! The commands, one per file.

mod backup;
mod explain;
mod export;
mod import;
mod inspect;
mod list;
mod orphans;
mod repair;
mod show;
mod verify;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use clap::CommandFactory;

use crate::{
    args::{Arguments, Command, Definitions},
    exit::{Failure, Success},
};

pub(crate) type Outcome = Result<Success, Failure>;

pub(crate) fn run(arguments: Arguments, out: &mut dyn Write) -> Outcome {
    match arguments.command {
        Command::Inspect { database, top } => inspect::run(&database, top, out),
        Command::List { database, filter, limit } => list::run(&database, &filter, limit, out),
        Command::Show { database, handle } => show::run(&database, &handle, out),
        Command::Verify { database, definitions } => verify::run(&database, definitions, out),
        Command::Explain { database } => explain::run(&database, out),
        Command::Backup { database, to, quiet } => backup::run(&database, &to, quiet, out),
        Command::Export { database, filter } => export::run(&database, &filter, out),
        Command::Import { database, file } => import::run(&database, file.as_deref(), out),
        Command::Orphans { database, file } => orphans::run(&database, file.as_deref(), out),
        Command::Repair { database, definitions } => repair::run(&database, definitions, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "shape-meta", out);
            Ok(Success::Clean)
        }
        Command::Man { directory } => {
            match directory {
                None => clap_mangen::Man::new(Arguments::command()).render(out)?,
                Some(to) => clap_mangen::generate_to(Arguments::command(), &to)
                    .map_err(Failure::io(format!("write the manual pages to {}", to.display())))?,
            }
            Ok(Success::Clean)
        }
    }
}

/// Opens the file, or standard input if there is none or it is `-`.
fn input(file: Option<&Path>) -> Result<Box<dyn BufRead>, Failure> {
    match file.filter(|path| *path != Path::new("-")) {
        None => Ok(Box::new(BufReader::new(io::stdin()))),
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::Usage(format!("could not open the input file {}: {error}", path.display()))
            })?;
            Ok(Box::new(BufReader::new(file)))
        }
    }
}

fn verifier(definitions: Definitions) -> Option<shape_meta_sqlite::Verifier> {
    match definitions {
        Definitions::Opaque => None,
        Definitions::Shape => Some(shape_meta_sqlite::Verifier::of::<shape_meta_core::Shape>()),
    }
}
