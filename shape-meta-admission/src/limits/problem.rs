use std::{error, fmt};

use super::ENV;

/// The error of invalid limits. Its text names the key and the problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLimits {
    /// The environment variable from which the limits were read.
    variable: Option<&'static str>,
    problem: LimitsProblem,
}

impl InvalidLimits {
    pub(super) fn new(problem: LimitsProblem) -> Self {
        Self { variable: None, problem }
    }

    pub(super) fn of_env(problem: LimitsProblem) -> Self {
        Self { variable: Some(ENV), problem }
    }

    /// Returns the problem.
    pub fn problem(&self) -> &LimitsProblem {
        &self.problem
    }
}

/// The problem of invalid limits. Keys and values are truncated to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitsProblem {
    /// The environment variable is not UTF-8.
    NotUnicode,
    /// The text is empty or only white space.
    Empty,
    /// The text is not JSON.
    Syntax {
        /// The message of the parser, with the position.
        why: String,
    },
    /// The JSON is not an object.
    NotAnObject {
        /// Its JSON type.
        found: &'static str,
    },
    /// The key is unknown.
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key occurs more than once.
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// A key is missing.
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// The value is not a number.
    NotANumber {
        /// Its key.
        key: &'static str,
        /// Its JSON type.
        found: &'static str,
    },
    /// The number is negative.
    Negative {
        /// Its key.
        key: &'static str,
        /// The value as it was written.
        value: String,
    },
    /// The number has a fraction or an exponent.
    NotWhole {
        /// Its key.
        key: &'static str,
        /// The value as it was written.
        value: String,
    },
    /// The number is too large.
    TooLarge {
        /// Its key.
        key: &'static str,
        /// The value as it was written.
        value: String,
    },
}

impl fmt::Display for LimitsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnicode => f.write_str("the value is not UTF-8"),
            Self::Empty => f.write_str(
                "the value is empty; expected an object like {\"initial\":300,\"existing\":10000}",
            ),
            Self::Syntax { why } => write!(f, "the value is not JSON: {why}"),
            Self::NotAnObject { found } => write!(
                f,
                "the value is {found}; expected an object like {{\"initial\":300,\"existing\":10000}}"
            ),
            Self::UnknownKey { key } => {
                write!(f, "the key {key:?} is unknown; the keys are \"initial\" and \"existing\"")
            }
            Self::DuplicateKey { key } => write!(f, "the key {key:?} occurs more than once"),
            Self::MissingKey { key } => write!(f, "the key {key:?} is missing"),
            Self::NotANumber { key, found } => {
                write!(f, "the value of {key:?} is {found}; expected an integer")
            }
            Self::Negative { key, value } => {
                write!(f, "the value of {key:?} is {value}; it must not be negative")
            }
            Self::NotWhole { key, value } => {
                write!(f, "the value of {key:?} is {value}; expected an integer, written with digits only")
            }
            Self::TooLarge { key, value } => {
                write!(f, "the value of {key:?} is {value}; the maximum is {}", u32::MAX)
            }
        }
    }
}

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variable {
            Some(variable) => write!(f, "{variable}: {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

impl error::Error for InvalidLimits {}
