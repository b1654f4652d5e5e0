//! The write side of the store.

mod apply;
mod batch;
pub(crate) mod change_log;
pub(crate) mod cleanup_tasks;
mod columns;
mod copy;
mod last_reads;
mod net_changes;
pub(crate) mod transaction;

pub(crate) use batch::BatchWriter;
pub(crate) use net_changes::NetChanges;
