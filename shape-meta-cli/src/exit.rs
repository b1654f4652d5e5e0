use std::{error::Error as _, fmt, io, process::ExitCode};

use shape_meta_core::{Error, ErrorKind};

/// How a command ended that did what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing is wrong.
    Well,
    /// Something was found.
    Found,
}

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    Store(Error),
    /// What was given to the command cannot be used.
    Usage(String),
    Io(String, io::Error),
    /// Nobody reads the output any more, as in `... | head`.
    Gone,
}

impl Failure {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |error| Self::Io(doing, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Gone,
            _ => Self::Io("write the output".into(), error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => {
                write!(f, "{error}")?;
                let mut cause = error.source();
                while let Some(next) = cause {
                    write!(f, "\n  because: {next}")?;
                    cause = next.source();
                }
                Ok(())
            }
            Self::Usage(what) => f.write_str(what),
            Self::Io(doing, error) => write!(f, "could not {doing}: {error}"),
            Self::Gone => f.write_str("nobody reads the output"),
        }
    }
}

pub(crate) fn code(outcome: Result<Done, Failure>) -> ExitCode {
    let failure = match outcome {
        Ok(Done::Well) | Err(Failure::Gone) => return ExitCode::SUCCESS,
        Ok(Done::Found) => return ExitCode::from(1),
        Err(failure) => failure,
    };
    eprintln!("shape-meta: {failure}");
    ExitCode::from(match &failure {
        Failure::Usage(_) => 2,
        Failure::Io(..) | Failure::Gone => 6,
        Failure::Store(error) => match error.kind() {
            ErrorKind::Configuration | ErrorKind::NotADatabase | ErrorKind::UnsupportedSchema => 3,
            ErrorKind::Busy | ErrorKind::AlreadyOpen | ErrorKind::Fenced | ErrorKind::Interrupted => 4,
            ErrorKind::Corrupt => 5,
            _ => 6,
        },
    })
}
