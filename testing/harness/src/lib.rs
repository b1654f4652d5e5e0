//! What the integration tests and the torture tool share: the compositions under test, one composition over real
//! files in step with the reference model, recorded histories with a linearizability checker, and the scripts that
//! a child process plays before it is killed.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a test harness, read together with the tests that use it")]

pub mod compositions;
pub mod linear;
pub mod one_file;
pub mod rows;
pub mod script;
