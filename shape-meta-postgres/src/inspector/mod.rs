//! Read-only access for operators, with or without a live owner.

mod open;
mod orphans;
mod stacks;
mod summary;
mod verify;

pub use open::PostgresInspector;
pub use stacks::{StackInfo, StackState};
pub use summary::{LatestOwner, StackSummary};
