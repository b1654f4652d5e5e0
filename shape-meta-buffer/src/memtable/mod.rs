//! Pending changes in memory: generations of changes (memtables), and the overlay that readers look them up in.

mod count_delta;
mod filter;
mod generation;
mod hashing;
mod overlay;
mod slot;

pub(crate) use count_delta::CountDelta;
pub(crate) use filter::Filter;
pub(crate) use generation::{Generation, Hashes, Seen};
pub(crate) use hashing::Hashing;
pub(crate) use overlay::{Gate, Overlay, State};
pub(crate) use slot::{Now, Slot};
