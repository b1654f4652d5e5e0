//! Connections to the server, and the thread on which they live.

pub(crate) mod client;
mod jitter;
pub(crate) mod operation;
pub(crate) mod pool;
pub(crate) mod runtime;
pub(crate) mod session;

pub(crate) use jitter::jitter;
pub use pool::PostgresPool;
