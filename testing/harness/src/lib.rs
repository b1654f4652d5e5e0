//! Code that the integration tests and the torture tool share: the compositions under test, a fixture over
//! database files for model tests, recorded histories with a linearizability checker, and the scripts of
//! child processes that are killed.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a test harness, read together with the tests that use it")]

pub mod compositions;
pub mod crash;
pub mod database_fixture;
pub mod linear;
pub mod rows;
pub mod script;
