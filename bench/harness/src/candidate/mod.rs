//! What the workloads measure: compositions of shape-meta, limits, and the interface of peers.

mod bare_evmap;
mod bare_memcpy;
mod bare_sqlite;
mod composition;
mod interface;

pub(crate) use bare_evmap::BareEvmap;
pub(crate) use bare_memcpy::BareMemcpy;
pub(crate) use bare_sqlite::BareSqlite;
pub(crate) use composition::{Composition, DIRECT, FULL_STACK, all};
pub use interface::{Candidate, Client, Facts, Kind, Store};
