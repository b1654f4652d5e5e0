//! Opening a stack.

pub(crate) mod pipeline;
mod report;
mod stamped;

pub use report::PostgresOpenReport;
