//! A database as operators look at it: read-only, beside a live owner or without one, and without changing a byte.

mod backup;
mod open;
mod orphans;
mod owner;
mod summary;
mod verify;

pub use open::Inspector;
pub use owner::Owner;
pub use summary::{Summary, TopRelation};
pub use verify::Verified;
