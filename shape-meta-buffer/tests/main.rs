//! Tests of the buffer: the conformance suite over its compositions, and what is its own.

mod support;
mod told;

mod asked;
mod bound;
mod boundaries;
mod closing;
mod conformance;
mod faults;
mod health;
mod invariants;
mod model;
mod observers;
mod options;
mod poison;
mod repair;
mod saves;
mod sharing;
