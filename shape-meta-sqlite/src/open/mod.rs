//! Opening a database: a chain of steps, each of which only the step before it can make.
//!
//! [`LockedDirectory`](locked::LockedDirectory) → [`InspectedFile`](inspected::InspectedFile) →
//! [`VerifiedDatabase`](verified::VerifiedDatabase) → [`MigratedDatabase`](migrated::MigratedDatabase) →
//! [`OwnedDatabase`](owned::OwnedDatabase).
//!
//! `pipeline` runs the chain and argues its order. A standby and the fencing of a live owner use the single
//! checks (`header`, `identified`) without the steps that write.

pub(crate) mod pipeline;

mod locked;

mod inspected;

mod verified;

mod migrated;

mod owned;

mod fence;
pub(crate) mod header;
pub(crate) mod identified;
mod integrity;
mod unreadable;

mod report;

pub use report::SqliteOpenReport;
