//! A write buffer over any store of the `shape-meta` family: mutations are validated, acknowledged and
//! visible in memory at once, and a background flusher writes them to the store below in batches.
//!
//! # What it is not
//!
//! It is not a cache: what is not pending is read from the store below. Put `Cached` of
//! `shape-meta-cache` between this and a disk. It is not a write-ahead log: pending changes are lost when the
//! process is killed, unless a [receipt](shape_meta_core::Receipt) has confirmed them as durable.
//!
//! # Example
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use shape_meta_buffer::{BufferOptions, Buffered};
//! use shape_meta_core::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Buffered::new(MemoryStore::new(), BufferOptions::default(), Arc::new(NoopObserver))?;
//! let shape = NewShape {
//!     handle: Handle::new("54334872-1768476874000000")?,
//!     key: Key::new([7; 32]),
//!     hash: DefinitionHash::new(7),
//!     relations: [Relation::new(16501)].into_iter().collect(),
//!     dependencies: [].into(),
//!     indexed: false,
//!     definition: b"todos where done = false".as_slice().into(),
//!     created_at: None,
//! };
//! let receipt = store.add(shape, Wait::UpTo(Duration::from_secs(1)))?;
//! assert!(store.has_handle("54334872-1768476874000000")?);
//! receipt.wait_durable(Duration::from_secs(10))?;
//! assert!(store.close(Duration::from_secs(10)).is_complete());
//! # Ok(())
//! # }
//! ```
//!
//! # Trade-offs
//!
//! An acknowledged mutation is not durable until its receipt says so. By default that takes about 100 ms, and
//! longer when the disk does not keep up, until the [bound](BufferOptions::max_pending_shapes) on pending
//! changes makes callers wait. A wait for a receipt requests a flush at once, unless the receipt is
//! [passive](shape_meta_core::Receipt::passive); all that wait share a commit. A crash leaves a prefix of the acknowledged sequence (C6), with one exception:
//! if the store below rejects a change for good without naming it, the flush is split into several
//! transactions, and a crash between them leaves a part of it.
//!
//! # How it works
//!
//! The overlay holds generations of pending changes, with every index that a reader needs. Mutations go to
//! the active one, under a short lock that is never held across disk work. A flush seals it, commits it below
//! as one batch, publishes that there, in parallel with the next commit if that is due, and then drops the
//! generation whole: commit, publish, drop. Readers skip the overlay's lock when a filter shows that no
//! pending change concerns them.
//!
//! Generations are the memtables of an LSM tree. The overlay adds that an add and a remove within one
//! generation cancel each other.
//!
//! # Features
//!
//! None.
//!
//! # Related crates
//!
//! `shape-meta-core` (the traits), `shape-meta-cache` and `shape-meta-sqlite` (stores below), `shape-meta`
//! (the composition of all).

#![forbid(unsafe_code)]

mod options;

mod buffered;
mod mutate;
mod read;
mod remove_all;
mod shared;

mod backpressure;
mod memtable;
mod requests;
mod write_state;

mod flush;
mod flusher_pool;

mod lifecycle;

mod sync;

#[cfg(test)]
mod tests;

pub use buffered::Buffered;
pub use flusher_pool::{FlusherOptions, FlusherPool, FlusherStats};
pub use options::BufferOptions;
