use std::{env, ffi::OsStr, str::FromStr};

use crate::Kind;

mod json;
mod problem;

pub use problem::{InvalidLimits, LimitsProblem};

/// The environment variable that [`AdmissionLimits::from_env`] reads.
pub const ENV: &str = "SHAPE_META_MAX_CONCURRENT_REQUESTS";

/// The maximum number of concurrent requests of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// The limit of [`Kind::Initial`]. Default: 300. Each request may create a shape and its snapshot. If the
    /// limit is too high, all of them are slow; if it is too low, a redeploy takes longer than necessary.
    /// Zero admits none.
    pub initial: u32,
    /// The limit of [`Kind::Existing`]. Default: 10,000. These are mostly connections that wait for changes.
    /// If the limit is too high, they cost memory; if it is too low, cheap requests are rejected. Zero admits
    /// none.
    pub existing: u32,
}

impl AdmissionLimits {
    /// Reads limits from strict JSON, as in `{"initial":300,"existing":10000}`.
    ///
    /// # Errors
    ///
    /// If the text is not an object with exactly these two keys, once each, and integers from 0 to
    /// 4,294,967,295. The error names the key.
    pub fn from_json(text: &str) -> Result<Self, InvalidLimits> {
        json::parse(text).map_err(InvalidLimits::new)
    }

    /// Reads limits from the environment variable `SHAPE_META_MAX_CONCURRENT_REQUESTS`, in the form of
    /// [`from_json`](Self::from_json); `None` if it is not set.
    ///
    /// # Errors
    ///
    /// If the value is invalid; an empty value is invalid, too. Read it at start and do not start with an
    /// invalid value: wrong limits would otherwise be noticed only under load.
    pub fn from_env() -> Result<Option<Self>, InvalidLimits> {
        env::var_os(ENV).as_deref().map(Self::from_os).transpose()
    }

    /// Parses the value for [`from_env`](Self::from_env). A function of its own, because tests cannot set a
    /// variable safely.
    fn from_os(value: &OsStr) -> Result<Self, InvalidLimits> {
        let text = value.to_str().ok_or(LimitsProblem::NotUnicode);
        text.and_then(json::parse).map_err(InvalidLimits::of_env)
    }

    /// Returns the limit of this kind.
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
            @r#"SHAPE_META_MAX_CONCURRENT_REQUESTS: the value is empty; expected an object like {"initial":300,"existing":10000}"#
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
