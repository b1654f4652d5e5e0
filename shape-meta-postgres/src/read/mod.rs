//! The read side of the store.

mod change_log;
mod least_recently_used;
pub(crate) mod load;
mod lookups;
pub(crate) mod scan;
pub(crate) mod snapshot;
