//! Options of a store.

pub(crate) mod disk_indexes;
pub(crate) mod durability;
pub(crate) mod mode;
pub(crate) mod options;
pub(crate) mod verifier;

pub use disk_indexes::DiskIndexes;
pub use durability::Durability;
pub use mode::Mode;
pub use options::{IntegrityCheck, OnCorruption, SqliteOptions};
pub use verifier::Verifier;
