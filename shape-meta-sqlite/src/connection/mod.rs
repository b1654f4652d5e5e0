//! The connections of a store: one writer, a pool of readers, and the limit that several stores share.

pub(crate) mod connections;
pub(crate) mod file_sizes;
pub(crate) mod idle;
pub(crate) mod limit;
pub(crate) mod main_file;
pub(crate) mod meter;
pub(crate) mod operation;
pub(crate) mod pool;
pub(crate) mod settings;

pub use limit::ConnectionLimit;
