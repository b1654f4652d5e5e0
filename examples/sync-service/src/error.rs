//! Why a request fails, as the status that its client gets.

use std::fmt;

use shape_meta::{MutateError, admission::Rejected};

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The failure of a request.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// 400: the same request fails again.
    Invalid(String),
    /// 404: deleting shapes is not enabled.
    NotEnabled,
    /// 503: the same request can succeed later.
    Unavailable(String),
    /// 503, with the time after which to retry, in seconds.
    Overloaded(String, u64),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(message) | Self::Unavailable(message) | Self::Overloaded(message, _) => {
                f.write_str(message)
            }
            Self::NotEnabled => f.write_str("shapes are deleted only with --allow-delete"),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Unavailable(format!("PostgreSQL: {}", crate::postgres::describe(&error)))
    }
}

impl From<shape_meta::Error> for Failure {
    fn from(error: shape_meta::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<MutateError> for Failure {
    fn from(error: MutateError) -> Self {
        match error.retry_after() {
            Some(after) => Self::Overloaded(error.to_string(), after.as_secs().max(1)),
            None => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        Self::Overloaded(rejected.to_string(), rejected.retry_after_seconds())
    }
}
