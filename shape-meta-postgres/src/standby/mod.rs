//! A read-only follower of a stack that another process owns.

mod follow;
mod open;
mod owner;
mod store;

pub use owner::StackOwner;
pub use store::PostgresStandby;
