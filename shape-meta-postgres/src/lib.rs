//! The store of `shape-meta` on PostgreSQL: many stacks in one database, changed in batches by one owner
//! each.
//!
//! A *stack* is one store of shapes, under a name. A database holds any number of them, in tables of our own.
//!
//! # What it is not
//!
//! It does not validate: that handles and keys are unique is decided by the layer above
//! ([`Direct`](shape_meta_core::Direct), or `Buffered` of `shape-meta-buffer`). It does not replicate:
//! PostgreSQL does that.
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//! use shape_meta_core::*;
//! use shape_meta_postgres::{Durability, PoolOptions, PostgresOptions, PostgresPool, PostgresStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = PostgresPool::new(PoolOptions::parse("postgres://sync@db.example/shapes")?)?;
//! let options = PostgresOptions::default().durability(Durability::ServerCrash);
//! let store = PostgresStore::open(&pool, "tenant-1", options, Arc::new(NoopObserver))?;
//! let recovery = store.recover()?;
//! println!("{} shapes are valid", recovery.valid);
//! let tasks = store.cleanup_tasks(None, 1_000)?;
//! // ... delete what is stored for these handles, and then:
//! store.ack_cleanup(&tasks)?;
//!
//! let store = Direct::new(store, Limits::default(), Arc::new(NoopObserver))?;
//! assert!(!store.has_handle("54334872-1768476874000000")?);
//! # Ok(())
//! # }
//! ```
//!
//! # Trade-offs
//!
//! - A look-up is a round trip to the server. Keep a cache above that mirrors them, and omit them here
//!   ([`DiskIndexes::Omitted`]).
//! - What a crash or a fail-over loses is a choice: see [`Durability`].
//! - A pool shares its connections among stores. It keeps prepared statements and settings in its sessions,
//!   so a proxy that gives each transaction another session is not supported.
//! - An owner keeps a lease by the clock of the server. A process that dies leaves its stacks when it ends.
//!
//! # How it works
//!
//! The connections live on one thread of the pool with a small runtime. A call sends its work there and
//! blocks on a channel, so it may come from any thread, and panics nowhere.
//!
//! A batch is one transaction. It locks the row of its stack and checks that the stack is still the one that
//! was opened, by this opening (C11, C13). It copies added shapes in binary, writes removals and marks as
//! sets, and at last updates the row under the same conditions. A commit whose answer was lost is settled by
//! the sequence number in the row (I6), which is read under the lock: so the server has decided.
//!
//! Statements, locks, connects, and waits for connections all have time-outs. What fails is not tried again
//! here, but for one case: a connection that the server has closed while it was idle is replaced.
//!
//! Observers receive every checkout of a connection under one of these labels: `metadata`, `handle_for`,
//! `entry`, `record`, `handles_for_relations`, `counts`, `scan`, `touch`, `least_recently_used`, `last_seq`,
//! `apply`, `load`, `record_of`, `changes_since`, `save_reads`, `saved_reads`, `recover`, `cleanup_tasks`,
//! `ack_cleanup`, `add_orphans`, `trust_storage`, `owner`. But for scans, they are emitted when the operation
//! ends.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `rustls` | TLS to the server, by rustls with ring |
//!
//! # Related crates
//!
//! `shape-meta-core` (the traits), `shape-meta-cache` and `shape-meta-buffer` (the layers above),
//! `shape-meta-sqlite` (the embedded store).

#![forbid(unsafe_code)]

mod config;
mod error;

mod inspector;
mod stack;
mod standby;
mod store;

mod lease;
mod notify;
mod open;
mod ownership;

mod read;
mod recover;
mod write;

mod connection;
mod format;
mod meter;

#[cfg(feature = "rustls")]
pub use config::Tls;
pub use config::{Durability, PoolOptions, PostgresOptions};
pub use connection::PostgresPool;
pub use inspector::{LatestOwner, PostgresInspector, StackInfo, StackState, StackSummary};
pub use open::PostgresOpenReport;
pub use recover::Recovery;
pub use shape_meta_core::store_parts::{CleanupTask, DiskIndexes, OnLiveOwner, Verifier};
pub use standby::{PostgresStandby, StackOwner};
pub use store::PostgresStore;
