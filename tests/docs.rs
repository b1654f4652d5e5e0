//! The code blocks of README.md and docs/ as doctests. The library has no other content.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/async.md")]
struct Async;

#[cfg(doctest)]
#[doc = include_str!("../docs/telemetry.md")]
struct Telemetry;
