//! Maintenance and statistics of an open store.

mod backup;
pub(crate) mod maintain;
pub(crate) mod query_plans;

pub use maintain::SqliteStats;
pub use query_plans::QueryPlan;
