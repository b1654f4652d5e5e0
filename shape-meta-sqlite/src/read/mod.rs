//! Reads: look-ups, scans, last-read times.

pub(crate) mod last_reads;
pub(crate) mod least_recently_used;
pub(crate) mod lookups;
pub(crate) mod preload;
pub(crate) mod recency;
pub(crate) mod scan;
