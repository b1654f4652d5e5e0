//! What the workloads measure: compositions of shape-meta, limits, and the interface of peers.

mod backend;
mod bare_evmap;
mod bare_memcpy;
mod bare_postgres;
mod bare_sqlite;
mod composition;
mod interface;
mod server;

pub(crate) use backend::Backend;
pub(crate) use bare_evmap::BareEvmap;
pub(crate) use bare_memcpy::BareMemcpy;
pub(crate) use bare_postgres::SAME_THREAD;
pub(crate) use composition::{Composition, DEFINITIONS, DIRECT, FULL_STACK, POSTGRES, all, pool};
pub use interface::{Candidate, Client, Facts, Kind, Store};
pub use server::Schema;
pub(crate) use server::{SETTINGS, server};
