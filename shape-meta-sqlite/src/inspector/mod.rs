//! Read-only access for operators, with or without a live owner. No file of the database changes.

mod backup;
mod open;
mod orphans;
mod owner;
mod summary;
mod verify;

pub use open::Inspector;
pub use owner::Owner;
pub use summary::{Summary, TopRelation};
pub use verify::VerifyReport;
