use std::{env, ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output;

/// Inspect, verify, back up and repair a shape-meta database.
///
/// Read-only commands work while an owner is alive and change no byte of the database. `import` and `repair`
/// take ownership of the database and fail with exit code 4 while another process owns it.
#[derive(Debug, Parser)]
#[command(name = "shape-meta", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Parses the command line.
    ///
    /// # Errors
    ///
    /// The text to print, which is the help if that was asked for. It repeats arguments, so it is that of the
    /// command line without passwords, and with what a terminal would obey escaped.
    pub(crate) fn from_command_line() -> Result<Self, clap::Error> {
        Self::parse_escaping(env::args_os().collect())
    }

    fn parse_escaping(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(&arguments).map_err(|error| {
            let escaped =
                arguments.iter().map(|one| output::safe(&masked(&one.display().to_string())).into_owned());
            // An argument that is not UTF-8 is no error any more when it is escaped, and the text of that
            // error repeats no argument.
            Self::try_parse_from(escaped).err().unwrap_or(error)
        })
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  success with findings: a problem, an orphan, missing data, a lost shape, an unknown handle, a skipped line
  2  invalid command line
  3  no database or stack, or one that this version cannot read; or the backup directory holds one already
  4  the database is busy or owned by another process
  5  the database is corrupt
  6  I/O error: the disk failed, is full, or denies access";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a summary: counts, snapshot states, owner, epoch, sizes, top relations.
    Inspect {
        #[command(flatten)]
        database: Database,
        /// Number of relations to show.
        #[arg(long, default_value_t = 10, value_name = "N")]
        top: usize,
    },
    /// List shapes, oldest first.
    List {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        filter: Filter,
        /// Stop after N shapes.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one shape and its definition. Exit code 1 if the handle is unknown.
    Show {
        #[command(flatten)]
        database: Database,
        /// Handle of the shape.
        #[cfg_attr(feature = "postgres", arg(required_unless_present = "url"))]
        #[cfg_attr(not(feature = "postgres"), arg(required = true))]
        handle: Option<OsString>,
    },
    /// Show all stacks of a PostgreSQL database: shapes, owner, lease. Exit code 1 if one is damaged.
    #[cfg(feature = "postgres")]
    Stacks {
        /// Connection string of the database.
        #[arg(long, value_name = "URL")]
        url: String,
        #[command(flatten)]
        connection: Connection,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check pages, rows, checksums, definitions, disk indexes and counts. Exit code 1 if a problem is found.
    Verify {
        #[command(flatten)]
        database: Database,
        /// Format of the definitions.
        #[arg(long, value_enum, default_value_t = Definitions::Opaque)]
        definitions: Definitions,
    },
    /// Show the query plan of each SQL statement. Exit code 1 if a plan has an unexpected full table scan.
    Explain {
        #[command(flatten)]
        database: Directory,
    },
    /// Copy the database, also while an owner is alive.
    ///
    /// The copy holds what was committed when the command began. It gets its final name once it is complete
    /// and synced.
    Backup {
        #[command(flatten)]
        database: Directory,
        /// Directory for the copy; must not hold a database. The copy has the owner and mode of the database.
        #[arg(long, value_name = "TARGET")]
        to: PathBuf,
        /// Do not show a progress bar.
        #[arg(long)]
        quiet: bool,
    },
    /// Write shapes as JSON lines. Exit code 1 if damaged shapes were skipped.
    Export {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        filter: Filter,
    },
    /// Add shapes from the JSON lines of `export`. Exit code 1 if lines were skipped.
    ///
    /// Creates the database if the directory has none, and the stack if the server has none. Imported shapes
    /// get new sequence numbers, in the order of the lines.
    Import {
        #[command(flatten)]
        database: Database,
        /// File to read; standard input if absent or `-`.
        file: Option<PathBuf>,
    },
    /// Compare stored data with metadata. Exit code 1 if they differ.
    ///
    /// Reads the handles that have stored data, one per line. Prints the handles without metadata (orphans)
    /// and the shapes without stored data (missing data).
    Orphans {
        #[command(flatten)]
        database: Database,
        /// File to read; standard input if absent or `-`.
        file: Option<PathBuf>,
    },
    /// Salvage a damaged database into a new one and quarantine the old file. Exit code 1 if shapes were
    /// lost.
    ///
    /// Changes nothing if the database is sound.
    Repair {
        #[command(flatten)]
        database: Directory,
        /// Format of the definitions.
        #[arg(long, value_enum, default_value_t = Definitions::Opaque)]
        definitions: Definitions,
        /// Rebuild the database also if it is sound.
        #[arg(long)]
        force: bool,
    },
    /// Write a completion script for a shell.
    Completions {
        /// Shell to write the script for.
        shell: clap_complete::Shell,
    },
    /// Write the manual page, or one page per command into a directory.
    Man {
        /// Directory for the pages, created if missing, such as `~/.local/share/man/man1`; standard output if
        /// absent.
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// Directory of the database.
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Database {
    /// Directory of the database.
    #[arg(value_name = "DIRECTORY")]
    #[cfg_attr(feature = "postgres", arg(required_unless_present = "url"))]
    #[cfg_attr(not(feature = "postgres"), arg(required = true))]
    pub(crate) directory: Option<PathBuf>,
    #[cfg(feature = "postgres")]
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(feature = "postgres")]
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Connection string of a PostgreSQL database, instead of DIRECTORY: `postgres://user@host/database`. A
    /// password that it lacks is that of the variable PGPASSWORD.
    #[arg(long, value_name = "URL", requires = "stack")]
    pub(crate) url: Option<String>,
    /// Name of the stack.
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(crate) stack: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[cfg(feature = "postgres")]
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Schema that holds the tables.
    #[arg(long, value_name = "NAME", default_value = "shape_meta")]
    pub(crate) schema: String,
    /// Encrypt by TLS and trust the certificates in this PEM file; `system` for those of this system.
    #[cfg(feature = "rustls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_roots: Option<PathBuf>,
}

/// Returns an argument without the password that it may contain.
pub(crate) fn masked(argument: &str) -> String {
    const MASK: &str = "***";
    // `postgres://user:password@host`.
    let mut masked = argument.to_owned();
    if let Some((scheme, rest)) = argument.split_once("://")
        && let Some((login, place)) = rest.rsplit_once('@')
    {
        let user = login.split(':').next().unwrap_or_default();
        masked = format!("{scheme}://{user}:{MASK}@{place}");
    }
    // `host=.. password=..`, and the same as a parameter of a URL. It may be quoted, so all of the rest is
    // left out.
    match masked.split_once("password") {
        Some((before, _)) if argument.contains('=') => format!("{before}password={MASK}"),
        _ => masked,
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only shapes of this table (`schema.name`, or `name` in any schema); needs definitions in the `Shape`
    /// JSON format.
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// Only shapes that read this relation.
    #[arg(long, value_name = "OID")]
    pub(crate) relation: Option<u32>,
    /// Only shapes in this snapshot state.
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
    /// Only shapes not read for this long, such as `30s`, `5m`, `2h` or `7d`; includes shapes never read.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub(crate) unread_for: Option<std::time::Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Pending,
    Started,
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Definitions {
    /// Opaque bytes: only the checksum is verified.
    Opaque,
    /// `Shape` in JSON: key, hash and relations are verified against the definition.
    Shape,
}

fn parse_age(text: &str) -> Result<std::time::Duration, String> {
    let invalid =
        || format!("{text:?} is not an age; write a number and a unit (s, m, h or d), such as 30s or 7d");
    let unit = text.chars().last().ok_or_else(invalid)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(invalid()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| invalid())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn c11_a_password_in_an_argument_is_masked() {
        for (argument, expected) in [
            ("postgres://sync:secret@host/db", "postgres://sync:***@host/db"),
            ("postgres://sync:sec:r@et@host/db", "postgres://sync:***@host/db"),
            ("--url=postgresql://sync:secret@host", "--url=postgresql://sync:***@host"),
            ("postgres://host/db?user=x&password=secret", "postgres://host/db?user=x&password=***"),
            ("postgres://user@host/db?password=secret", "postgres://user:***@host/db?password=***"),
            ("host=h password = 'se cret' user=u", "host=h password=***"),
            ("0001-1768476874000000", "0001-1768476874000000"),
        ] {
            assert_eq!(masked(argument), expected);
        }
    }

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        assert_eq!(parse_age("5m"), Ok(std::time::Duration::from_secs(300)));
        for invalid in ["", "5", "m", "-5m", "5 m", "5é", "99999999999999999999d", "213503982334602d"] {
            assert!(parse_age(invalid).is_err(), "{invalid:?} is accepted");
        }
    }
}
