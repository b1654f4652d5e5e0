use std::{env, ffi::OsStr, str::FromStr};

use crate::Kind;

mod json;
mod problem;

pub use problem::{InvalidLimits, LimitsProblem};

/// The environment variable that [`AdmissionLimits::from_env`] reads.
pub const ENV: &str = "SHAPE_META_MAX_CONCURRENT_REQUESTS";

/// How many requests of each kind may be worked on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Of [`Kind::Initial`]; 300 by default. Each may make a shape and its snapshot: too many, and all of them
    /// are slow; too few, and a redeploy takes longer than it must. Zero admits none.
    pub initial: u32,
    /// Of [`Kind::Existing`]; 10,000 by default. Mostly connections that wait for news: too many cost memory,
    /// too few shut clients out that cost next to nothing. Zero admits none.
    pub existing: u32,
}

impl AdmissionLimits {
    /// Reads limits from strict JSON, as in `{"initial":300,"existing":10000}`.
    ///
    /// # Errors
    ///
    /// For anything but an object with just these two keys, once each, and whole numbers from 0 to
    /// 4,294,967,295. The error names the key.
    pub fn from_json(text: &str) -> Result<Self, InvalidLimits> {
        json::parse(text).map_err(InvalidLimits::new)
    }

    /// Reads limits from the environment variable `SHAPE_META_MAX_CONCURRENT_REQUESTS`, in the form of
    /// [`from_json`](Self::from_json); `None` if it is not set.
    ///
    /// # Errors
    ///
    /// If it is set to anything else, the empty text included. Call it at start, and do not start then:
    /// limits that are silently not those that were meant are noticed in the next storm.
    pub fn from_env() -> Result<Option<Self>, InvalidLimits> {
        env::var_os(ENV).as_deref().map(Self::from_os).transpose()
    }

    /// What [`from_env`](Self::from_env) makes of the value. Tests cannot set a variable safely.
    fn from_os(value: &OsStr) -> Result<Self, InvalidLimits> {
        let text = value.to_str().ok_or(LimitsProblem::NotUnicode);
        text.and_then(json::parse).map_err(InvalidLimits::of_env)
    }

    /// The limit of this kind.
    pub fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Initial => self.initial,
            Kind::Existing => self.existing,
        }
    }
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { initial: 300, existing: 10_000 }
    }
}

impl FromStr for AdmissionLimits {
    type Err = InvalidLimits;

    fn from_str(text: &str) -> Result<Self, InvalidLimits> {
        Self::from_json(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_environment_name_the_variable() {
        let text = |value: &OsStr| AdmissionLimits::from_os(value).expect_err("refused").to_string();
        insta::assert_snapshot!(
            text(OsStr::new(r#"{"initial":300}"#)),
            @"SHAPE_META_MAX_CONCURRENT_REQUESTS: the key \"existing\" is missing"
        );
        insta::assert_snapshot!(
            text(OsStr::new("")),
            @r#"SHAPE_META_MAX_CONCURRENT_REQUESTS: the value is empty, and has to be an object like {"initial":300,"existing":10000}"#
        );
        #[cfg(unix)]
        insta::assert_snapshot!(
            text(std::os::unix::ffi::OsStrExt::from_bytes(b"{\xff}")),
            @"SHAPE_META_MAX_CONCURRENT_REQUESTS: the value is not UTF-8"
        );
        let good = AdmissionLimits::from_os(OsStr::new(r#"{"initial":3,"existing":4}"#));
        assert_eq!(good, Ok(AdmissionLimits { initial: 3, existing: 4 }));
    }
}
