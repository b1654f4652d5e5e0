//! The code of README.md and of docs/ compiles and runs: as doctests of this library, which has nothing else in it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/telemetry.md")]
struct Telemetry;
