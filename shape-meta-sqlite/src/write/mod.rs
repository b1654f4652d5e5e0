//! Writes: batches, and the change log that standbys read.

pub(crate) mod apply;
pub(crate) mod batch;
pub(crate) mod change_log;
pub(crate) mod cleanup_tasks;
