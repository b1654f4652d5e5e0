//! The durable store of `shape-meta`: shapes in a SQLite database, changed in batches.
//!
//! # What it is not
//!
//! It does not validate: that handles and keys are unique is decided by the layer above
//! ([`Direct`](shape_meta_core::Direct), or `Buffered` of `shape-meta-buffer`). It is neither a general
//! wrapper of SQLite nor a store for the logs of shapes.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use shape_meta_core::*;
//! use shape_meta_sqlite::{Durability, SqliteOptions, SqliteStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let options = SqliteOptions::default().durability(Durability::PowerLossConsistent);
//! let store = SqliteStore::open(directory, options, Arc::new(NoopObserver))?;
//! let recovery = store.recover()?;
//! println!("{} shapes are valid", recovery.valid);
//! let tasks = store.cleanup_tasks(None, 1_000)?;
//! // ... delete what is stored for these handles, and then:
//! store.ack_cleanup(&tasks)?;
//!
//! let store = Direct::new(store, Limits::default(), Arc::new(NoopObserver))?;
//! store.add(
//!     NewShape {
//!         handle: Handle::new("54334872-1768476874000000")?,
//!         key: Key::new([7; 32]),
//!         hash: DefinitionHash::new(7),
//!         relations: [Relation::new(16501)].into_iter().collect(),
//!         dependencies: [].into(),
//!         indexed: false,
//!         definition: b"todos where done = false".as_slice().into(),
//!         created_at: None,
//!     },
//!     Wait::No,
//! )?;
//! assert!(store.has_handle("54334872-1768476874000000")?);
//! # Ok(())
//! # }
//! ```
//!
//! # Trade-offs
//!
//! - A look-up on disk takes a few microseconds, and maintaining the index tables costs most of the rate of
//!   adds once there are many shapes. Under a cache that mirrors all look-ups, omit them
//!   ([`DiskIndexes::Omitted`]): rows are then only appended, and the rate does not depend on their number.
//! - What a crash loses is a choice: see [`Durability`].
//! - Network file systems need [`Mode::Exclusive`], which has a single connection.
//!
//! # How it works
//!
//! A shape's row id is the sequence number of its add, so rows are appended. A batch is one transaction,
//! which also writes the sequence number of its last mutation; so a batch whose commit may have failed can be
//! applied again. Every open bumps the epoch of the database and makes a random identity, and each
//! transaction that writes checks that database and opening are still its own (C11, C13).
//!
//! Observers receive every checkout of a connection under one of these labels: `metadata`, `handle_for`,
//! `entry`, `record`, `handles_for_relations`, `counts`, `scan`, `touch`, `least_recently_used`, `last_seq`,
//! `apply`, `load`, `record_of`, `changes_since`, `save_reads`, `saved_reads`, `recover`, `cleanup_tasks`,
//! `ack_cleanup`, `add_orphans`, `trust_storage`, `maintain`, `query_plans`, `stats`, `repair`.
//!
//! # Features
//!
//! None. SQLite is compiled in, so its version is known.
//!
//! # Related crates
//!
//! `shape-meta-core` (the traits), `shape-meta-cache` and `shape-meta-buffer` (the layers above),
//! `shape-meta` (all of it composed).

#![forbid(unsafe_code)]

mod config;
mod error;

mod standby;
mod store;

mod open;
mod ownership;

mod read;
mod write;

mod inspector;
mod maintenance;
mod recovery;

mod connection;
mod format;

pub use config::{Durability, IntegrityCheck, Mode, OnCorruption, SqliteOptions};
pub use connection::ConnectionLimit;
pub use inspector::{BackupProgress, Inspector, Owner, Summary, remove_temporary_files};
pub use maintenance::{QueryPlan, SqliteStats};
pub use open::SqliteOpenReport;
pub use recovery::Recovery;
pub use shape_meta_core::store_parts::{
    CleanupTask, DiskIndexes, OnLiveOwner, StopHandle, TopRelation, Verifier, VerifyReport,
};
pub use standby::SqliteStandby;
pub use store::SqliteStore;
