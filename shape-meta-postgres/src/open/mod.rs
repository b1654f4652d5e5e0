//! Opening a stack.

pub(crate) mod pipeline;
mod report;

pub use report::PostgresOpenReport;
