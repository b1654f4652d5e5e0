//! Options of a store.

pub(crate) mod disk_indexes;
pub(crate) mod durability;
pub(crate) mod mode;
pub(crate) mod on_live_owner;
pub(crate) mod options;
pub(crate) mod verifier;

pub use disk_indexes::DiskIndexes;
pub use durability::Durability;
pub use mode::Mode;
pub use on_live_owner::OnLiveOwner;
pub use options::{IntegrityCheck, OnCorruption, SqliteOptions};
pub use verifier::Verifier;
