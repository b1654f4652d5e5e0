//! A read-only follower of a stack that another process owns.

mod follow;
pub(crate) mod open;
mod owner;
mod store;

pub use owner::StackOwner;
pub use store::PostgresStandby;
