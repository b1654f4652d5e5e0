//! Every composition over SQLite files, as a user gets it from the builder: conformance, likeness, threads,
//! crashes, faults and bad input.

mod conformance;
mod contract;

mod crash;
mod deploy;
mod equal;
mod faults;
mod linear;
mod threads;

mod cleaner;
mod dashboard;
mod gauges;
mod histories;
mod last_reads;
mod places;
mod refusals;
mod repair;
mod tenants;
mod told;
