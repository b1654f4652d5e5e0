//! The composition without a buffer. Mutations that are made at the same time share a transaction (group
//! commit): the callers queue, and one of them, the leader, commits for all.

mod condition;
mod queue;
mod store;
mod transaction;

pub use store::Direct;
