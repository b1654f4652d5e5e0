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
#[cfg(feature = "postgres")]
mod stacks;
mod verify;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
};

use clap::CommandFactory;

use crate::{
    args::{Arguments, Command, Definitions},
    exit::{Failure, Success},
    output,
};

pub(crate) type Outcome = Result<Success, Failure>;

pub(crate) fn run(arguments: Arguments, out: &mut dyn Write) -> Outcome {
    match arguments.command {
        Command::Inspect { database, top } => inspect::run(&database, top, out),
        Command::List { database, filter, limit } => list::run(&database, &filter, limit, out),
        Command::Show { database, handle } => show::run(&database, handle, out),
        #[cfg(feature = "postgres")]
        Command::Stacks { url, connection, json } => stacks::run(&url, &connection, json, out),
        Command::Verify { database, definitions } => verify::run(&database, definitions, out),
        Command::Explain { database } => explain::run(&database, out),
        Command::Backup { database, to, quiet } => backup::run(&database, &to, quiet, out),
        Command::Export { database, filter } => export::run(&database, &filter, out),
        Command::Import { database, file } => import::run(&database, file, out),
        Command::Orphans { database, file } => orphans::run(&database, file, out),
        Command::Repair { database, definitions, force } => repair::run(&database, definitions, force, out),
        Command::Completions { shell } => {
            // It panics if it cannot write, so it writes to memory.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "shape-meta", &mut script);
            out.write_all(&script)?;
            Ok(Success::Clean)
        }
        Command::Man { directory } => {
            match directory {
                None => clap_mangen::Man::new(Arguments::command()).render(out)?,
                Some(to) => fs::create_dir_all(&to)
                    .and_then(|()| clap_mangen::generate_to(Arguments::command(), &to))
                    .map_err(Failure::io(format!("write the manual pages to {}", to.display())))?,
            }
            Ok(Success::Clean)
        }
    }
}

/// Opens the file, or standard input if there is none or it is `-`, and reads its beginning: an input that
/// cannot be read is reported before anything else is done. `what` names the lines.
fn input(file: Option<&Path>, what: &str) -> Result<Box<dyn BufRead>, Failure> {
    let mut input = open_input(file, what)?;
    let is_empty = input.fill_buf().map_err(Failure::io(format!("read the {what}")))?.is_empty();
    // On a terminal an end is typed, and another read would wait for another one.
    Ok(if is_empty { Box::new(io::empty()) } else { input })
}

fn open_input(file: Option<&Path>, what: &str) -> Result<Box<dyn BufRead>, Failure> {
    match file.filter(|path| *path != Path::new("-")) {
        None => {
            if io::stdin().is_terminal() {
                output::note(format!(
                    "waiting for {what}, one a line, on standard input; end it with Ctrl-D"
                ));
            }
            Ok(Box::new(BufReader::new(io::stdin())))
        }
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::Usage(format!("could not open the input file {}: {error}", path.display()))
            })?;
            Ok(Box::new(BufReader::new(file)))
        }
    }
}

/// A line of the input, with its number. Bytes that are not UTF-8 stay what they are.
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// The longest line of an input, in bytes: more than any shape takes, and little enough for memory.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Returns the lines that are not empty, without white space at their ends. One that is too long is an error
/// with its number.
fn lines(mut input: Box<dyn BufRead>) -> impl Iterator<Item = io::Result<Line>> {
    let mut number = 0;
    std::iter::from_fn(move || {
        loop {
            let mut bytes = Vec::new();
            match input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Err(error) => return Some(Err(error)),
                Ok(_) => number += 1,
            }
            if bytes.len() as u64 > MAX_LINE_BYTES {
                let message = format!(
                    "line {number} is longer than {MAX_LINE_BYTES} bytes; give one entry a line, and check that this is \
                     the right file"
                );
                return Some(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
            }
            let trimmed = bytes.trim_ascii();
            if !trimmed.is_empty() {
                return Some(Ok(Line { number, bytes: trimmed.to_vec() }));
            }
        }
    })
}

fn verifier(definitions: Definitions) -> Option<shape_meta_sqlite::Verifier> {
    match definitions {
        Definitions::Opaque => None,
        Definitions::Shape => Some(shape_meta_sqlite::Verifier::of::<shape_meta_core::Shape>()),
    }
}
