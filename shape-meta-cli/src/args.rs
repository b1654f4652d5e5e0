use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Looks at a database of shape metadata, checks it, backs it up and repairs it.
///
/// Commands that only look work beside a live owner and change no byte. `import` and `repair` take ownership, and
/// are refused while an owner is alive.
#[derive(Debug, Parser)]
#[command(name = "shape-meta", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, nothing is wrong; 1 something was found; 2 wrong usage; 3 no database \
                          that can be read; 4 an owner is in the way; 5 damaged; 6 the disk failed.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a database at a glance: counts, sizes, states, owner, oldest and newest, top relations.
    Inspect {
        #[command(flatten)]
        database: Database,
        /// How many relations to show.
        #[arg(long, default_value_t = 10, value_name = "N")]
        top: usize,
    },
    /// List shapes in the order of creation.
    List {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        filter: Filter,
        /// Show at most so many.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one shape with its definition. Exit code 1 if there is none.
    Show {
        #[command(flatten)]
        database: Database,
        /// The handle of the shape.
        handle: String,
    },
    /// Check everything: pages, rows, definitions, look-ups, counts. Exit code 1 if there is a problem.
    Verify {
        #[command(flatten)]
        database: Database,
        /// What definitions are.
        #[arg(long, value_enum, default_value_t = Definitions::Opaque)]
        definitions: Definitions,
    },
    /// Show how SQLite runs each statement. Exit code 1 if one reads a whole table that should use an index.
    Explain {
        #[command(flatten)]
        database: Database,
    },
    /// Copy the database as it is now, beside a live owner.
    Backup {
        #[command(flatten)]
        database: Database,
        /// The directory for the copy; must not hold a database.
        #[arg(long, value_name = "DIRECTORY")]
        to: PathBuf,
        /// Show no progress bar.
        #[arg(long)]
        quiet: bool,
    },
    /// Write all shapes as JSON lines.
    Export {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        filter: Filter,
    },
    /// Add shapes from JSON lines as `export` writes them. Exit code 1 if some were not added.
    Import {
        #[command(flatten)]
        database: Database,
        /// The file to read; standard input if it is absent or `-`.
        file: Option<PathBuf>,
    },
    /// Compare stored data with the metadata. Exit code 1 if they differ.
    ///
    /// Reads the handles that have stored data, one a line, and tells which of them have no metadata (orphans), and
    /// which shapes have no stored data.
    Orphans {
        #[command(flatten)]
        database: Database,
        /// The file to read; standard input if it is absent or `-`.
        file: Option<PathBuf>,
    },
    /// Move a damaged database aside and carry all that is sound into a new one. Exit code 1 if shapes were lost.
    Repair {
        #[command(flatten)]
        database: Database,
        /// What definitions are.
        #[arg(long, value_enum, default_value_t = Definitions::Opaque)]
        definitions: Definitions,
    },
    /// Write completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual page, or with a directory one page for each command.
    Man {
        /// Where to write the pages, such as `~/.local/share/man/man1`. Must be there.
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The directory of the database.
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only shapes of this table (`schema.name`), if their definitions are shapes in JSON.
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// Only shapes that read this relation.
    #[arg(long, value_name = "OID")]
    pub(crate) relation: Option<u32>,
    /// Only shapes whose snapshot has come so far.
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
    /// Only shapes that were not read for so long, such as `30s`, `5m`, `2h` or `7d`; shapes that were never read are
    /// among them.
    #[arg(long, value_name = "AGE", value_parser = age)]
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
    /// Bytes of which nothing is known but their checksum.
    Opaque,
    /// The ready-made `Shape` in JSON: key, hash and relations must be those of the definition.
    Shape,
}

fn age(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no age; write a number and one of s, m, h, d, such as 30s or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        assert_eq!(age("5m"), Ok(std::time::Duration::from_secs(300)));
        for wrong in ["", "5", "m", "-5m", "5 m", "5é", "99999999999999999999d", "213503982334602d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
