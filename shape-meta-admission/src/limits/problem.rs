use std::{error, fmt};

use super::ENV;

/// Limits that cannot be used. The text says which key it is and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLimits {
    /// The environment variable that they come from.
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

    /// What is wrong.
    pub fn problem(&self) -> &LimitsProblem {
        &self.problem
    }
}

/// What is wrong with limits. Keys and values are cut after 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitsProblem {
    /// The environment variable is not UTF-8.
    NotUnicode,
    /// There is nothing, or nothing but white space.
    Empty,
    /// The text is not JSON.
    Syntax {
        /// Why, and where.
        why: String,
    },
    /// The JSON is not an object.
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
    /// There is no such limit.
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key is there twice.
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// A key is not there.
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// The value is not a number.
    NotANumber {
        /// Its key.
        key: &'static str,
        /// What it is instead.
        found: &'static str,
    },
    /// The number is below zero.
    Negative {
        /// Its key.
        key: &'static str,
        /// As it was written.
        value: String,
    },
    /// The number has a fraction or an exponent.
    NotWhole {
        /// Its key.
        key: &'static str,
        /// As it was written.
        value: String,
    },
    /// The number is too large.
    TooLarge {
        /// Its key.
        key: &'static str,
        /// As it was written.
        value: String,
    },
}

impl fmt::Display for LimitsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnicode => f.write_str("the value is not UTF-8"),
            Self::Empty => f.write_str(
                "the value is empty, and has to be an object like {\"initial\":300,\"existing\":10000}",
            ),
            Self::Syntax { why } => write!(f, "the value is not JSON: {why}"),
            Self::NotAnObject { found } => write!(
                f,
                "the value is {found}, and has to be an object like {{\"initial\":300,\"existing\":10000}}"
            ),
            Self::UnknownKey { key } => {
                write!(f, "the key {key:?} is unknown; the keys are \"initial\" and \"existing\"")
            }
            Self::DuplicateKey { key } => write!(f, "the key {key:?} is there more than once"),
            Self::MissingKey { key } => write!(f, "the key {key:?} is missing"),
            Self::NotANumber { key, found } => {
                write!(f, "the value of {key:?} is {found}, and has to be a whole number")
            }
            Self::Negative { key, value } => {
                write!(f, "the value of {key:?} is {value}, and must not be negative")
            }
            Self::NotWhole { key, value } => {
                write!(
                    f,
                    "the value of {key:?} is {value}, and has to be a whole number, written as digits only"
                )
            }
            Self::TooLarge { key, value } => {
                write!(f, "the value of {key:?} is {value}, and the largest possible is {}", u32::MAX)
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
