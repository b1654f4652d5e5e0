use std::error::Error;

/// The result of a step of a benchmark. An error ends the benchmark and is printed.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// An error that is only printed.
pub type BoxError = Box<dyn Error + Send + Sync>;
