//! Reads: look-ups, scans, and the last-read times from which the least recently used shapes are found.

pub(crate) mod last_reads;
pub(crate) mod least_recently_used;
pub(crate) mod lookups;
pub(crate) mod preload;
pub(crate) mod scan;
