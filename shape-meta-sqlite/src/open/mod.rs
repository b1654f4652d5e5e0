//! Opening a database: a chain of types, each of which can only be made from the one before it.
//!
//! [`LockedDirectory`](locked::LockedDirectory) → [`InspectedFile`](inspected::InspectedFile) →
//! [`VerifiedDatabase`](verified::VerifiedDatabase) → [`MigratedDatabase`](migrated::MigratedDatabase) →
//! [`OwnedDatabase`](owned::OwnedDatabase) → [`StampedDatabase`](stamped::StampedDatabase).
//!
//! `pipeline` runs the chain and explains its order. A standby and the fencing of a live owner use single
//! checks (`header`, `identified`) without the steps that write.

pub(crate) mod pipeline;

mod locked;

mod inspected;

mod verified;

mod migrated;

mod owned;

mod rekey;
mod stamped;

mod fence;
pub(crate) mod header;
pub(crate) mod identified;
mod integrity;
pub(crate) mod links;
mod unreadable;

mod report;

pub use report::SqliteOpenReport;
