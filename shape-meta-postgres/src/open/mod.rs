//! Opening a stack.

pub(crate) mod pipeline;
mod rekey;
mod report;
mod stamped;

pub use report::PostgresOpenReport;
