//! Options of a store.

pub(crate) mod durability;
pub(crate) mod mode;
pub(crate) mod options;

pub use durability::Durability;
pub use mode::Mode;
pub use options::{IntegrityCheck, OnCorruption, SqliteOptions};
