use std::{error::Error as _, fmt, io, process::ExitCode};

use shape_meta_core::{Error, ErrorKind};

use crate::output;

/// Result of a command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Success {
    /// Nothing to report: exit code 0.
    Clean,
    /// A problem, an orphan, a skipped line or the like was reported: exit code 1.
    Findings,
}

/// Reason why a command did not run to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    Store(Error),
    /// An argument cannot be used.
    Usage(String),
    /// The operation that failed, as an infinitive, and its error.
    Io(String, io::Error),
    /// The reader of the output has closed it, as in `... | head`.
    OutputClosed,
}

impl Failure {
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        |error| Self::Io(operation, error)
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
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Io("write the output".into(), error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => {
                f.write_str(&output::safe(&error.to_string()))?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, "\n  caused by: {}", output::safe(&error.to_string()))?;
                    source = error.source();
                }
                Ok(())
            }
            Self::Usage(message) => f.write_str(&output::safe(message)),
            Self::Io(operation, error) => {
                f.write_str(&output::safe(&format!("could not {operation}: {error}")))
            }
            Self::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

/// Returns the exit code, and prints a failure to standard error.
pub(crate) fn code(outcome: Result<Success, Failure>) -> ExitCode {
    let failure = match outcome {
        Ok(Success::Clean) | Err(Failure::OutputClosed) => return ExitCode::SUCCESS,
        Ok(Success::Findings) => return ExitCode::from(1),
        Err(failure) => failure,
    };
    output::note(&failure);
    ExitCode::from(match &failure {
        Failure::Usage(_) => 2,
        Failure::Io(..) | Failure::OutputClosed => 6,
        Failure::Store(error) => match error.kind() {
            ErrorKind::Configuration
            | ErrorKind::NotADatabase
            | ErrorKind::NotFound
            | ErrorKind::Unsupported
            | ErrorKind::UnsupportedSchema
            | ErrorKind::OtherStamp => 3,
            ErrorKind::Busy | ErrorKind::AlreadyOpen | ErrorKind::Fenced | ErrorKind::Interrupted => 4,
            ErrorKind::Corrupt => 5,
            _ => 6,
        },
    })
}
