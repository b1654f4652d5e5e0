//! Pending changes in memory: generations (memtables), and the overlay in which readers look them up.

mod count_delta;
mod filter;
mod generation;
mod hashing;
mod kept;
mod overlay;
mod parts;
mod slot;
mod slots;
mod state;
mod table;
mod writer_queue;

pub(crate) use count_delta::CountDelta;
#[cfg(test)]
pub(crate) use filter::Filter;
pub(crate) use generation::{ForgottenBase, Generation, Hashes, Lookup, SlotMutations};
pub(crate) use hashing::Hashing;
pub(crate) use kept::Kept;
pub(crate) use overlay::Overlay;
pub(crate) use parts::{PART, ReadInParts};
pub(crate) use slot::{Slot, SlotState};
pub(crate) use slots::Slots;
pub(crate) use state::{DroppedSince, State, View};
#[cfg(test)]
pub(crate) use table::Table;
#[cfg(test)]
pub(crate) use writer_queue::{MAX_ENTERED, WriterQueue};
