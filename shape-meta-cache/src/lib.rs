//! The left-right read cache of `shape-meta`.
#![deny(unsafe_code)]

mod cached;
mod memory;
mod options;

mod apply;
mod read;
mod reload;

mod draft;
mod in_flight;
mod mirror;
mod readers;
mod roster;
mod stalest;

mod fold;
mod slots;
mod table;

#[cfg(test)]
mod tests;

pub use cached::Cached;
pub use memory::CacheMemory;
pub use options::{CacheOptions, Lookups};
pub use reload::Reloaded;
