//! Writes: batches and the change log.

pub(crate) mod apply;
pub(crate) mod batch;
pub(crate) mod change_log;
