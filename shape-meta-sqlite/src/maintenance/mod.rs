//! Maintenance and statistics of an open store.

pub(crate) mod maintain;
pub(crate) mod query_plans;

pub use maintain::SqliteStats;
pub use query_plans::QueryPlan;
