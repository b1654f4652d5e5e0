//! A write buffer over any store of the `shape-meta` family: mutations are validated, acknowledged and
//! visible in memory at once, and a background flusher writes them below in batches.
//!
//! # What it is not
//!
//! It is not a cache: what is not pending is read from the store below. Put `Cached` of
//! `shape-meta-cache` between this and a disk. And it is not a log of its own: what is pending when the
//! process is killed is lost, as far as no [receipt](shape_meta_core::Receipt) had declared it durable.
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
//! An acknowledged mutation is not durable until its receipt says so: by default some 100 ms later, more
//! when the disk does not keep up, up to the [bound](BufferOptions::max_pending_shapes). What a crash leaves is a
//! prefix of the acknowledged order (C6), with one exception, named in [`Buffered`]'s store below: one that
//! refuses a change for good and does not say which makes a flush fall into several transactions.
//!
//! # How it works
//!
//! The overlay holds generations of pending changes, with every index that a reader asks. Mutations go to the
//! active one, under a short lock that nobody holds across disk work. A flush seals it, commits it below as one
//! batch, publishes that there (while the next one is being committed, if there is a next one) and then drops
//! the generation whole: commit, publish, drop. Readers pass the overlay without its lock when a filter says that
//! nothing pending concerns them. The idea of generations is that of the memtables of an LSM tree; the
//! cancelling of an add by a remove within one of them is the overlay's own.
//!
//! # Features
//!
//! None.
//!
//! # Related crates
//!
//! `shape-meta-core` (the traits), `shape-meta-cache`, `shape-meta-sqlite` (stores below), `shape-meta` (all
//! of it composed).

#![forbid(unsafe_code)]

mod options;

mod buffered;
mod flush;
mod flusher_pool;
mod lifecycle;
mod memtable;
mod read;
mod shared;
mod sync;

#[cfg(test)]
mod tests;

pub use buffered::Buffered;
pub use flusher_pool::{FlusherOptions, FlusherPool, FlusherStats};
pub use options::BufferOptions;
