//! The left-right read cache of `shape-meta`: [`Cached`] keeps a mirror of everything small in memory, over
//! any store, and answers reads from it without a lock.
//!
//! # What it is not
//!
//! It is no cache that forgets: every live shape is in it, so a miss is the answer and never a reason to
//! ask the disk. It holds no definitions; those are read from the store below, by row id, unless
//! [some are to be kept](#features). And it does not
//! gather writes: each batch is committed below before anyone sees it here. `shape-meta-buffer` goes on top
//! for that.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use shape_meta_cache::{CacheOptions, Cached};
//! use shape_meta_core::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cached = Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::new(NoopObserver))?;
//! let store = Direct::new(cached, Limits::default(), Arc::new(NoopObserver))?;
//! # let shape = NewShape {
//! #     handle: Handle::new("54334872-1768476874000000")?,
//! #     key: Key::new([7; 32]),
//! #     hash: DefinitionHash::new(7),
//! #     relations: [Relation::new(16501)].into_iter().collect(),
//! #     dependencies: [].into(),
//! #     indexed: false,
//! #     definition: b"todos where done = false".as_slice().into(),
//! # };
//! let made = store.get_or_add(&shape, Wait::No)?;
//! // Lock-free, and no disk is asked.
//! assert!(store.validate_handle(&made.handle, shape.hash)?);
//! assert_eq!(store.handle_for(&shape.key)?, Some(made.handle));
//! println!("{} bytes", store.inner().memory().total());
//! # Ok(())
//! # }
//! ```
//!
//! # Trade-offs
//!
//! - Reads are fast and even, and cost writers: everything is kept twice, and each change is applied twice
//!   (about a microsecond for each shape that is added, in all). A publish waits for the readers of the
//!   moment, microseconds when it is quiet and tens of milliseconds when more threads than processors do
//!   nothing but read. So it is meant to be written in batches.
//! - Memory, at a million shapes with one relation each: some 460 bytes a shape, or 340 with
//!   [`LookupIndex::Disk`]. It is counted in [`Cached::memory`].
//! - When the table has to grow, the writer stops to copy it; see [`CacheOptions::initial_capacity`].
//! - Reading all shapes of a relation holds the writer up meanwhile: a third of a millisecond for ten
//!   thousand, and more than that in proportion.
//! - [`last_seq`](shape_meta_core::ReadShapes::last_seq) is published after the snapshot states of the same
//!   batch have moved, so for a moment it may be behind what reads show. It is never ahead.
//!
//! # How it works
//!
//! All indexes share one evmap, a hash table that exists twice: readers use one side, the writer changes the
//! other, and a publish exchanges them. So a shape comes and goes in one step in all of them (C1). The table
//! is keyed by 64 bits of a hash, which says by a tag whether it stands for a handle, a key or a relation;
//! each value is a pointer to the one [`Entry`](shape_meta_core::Entry) of the shape, which is compared
//! before it is believed. Counts and the place in the order are published together with the table.
//!
//! What changes often is not published at all: the last-read time and the snapshot state are atomics in the
//! entry, shared by both sides. Beside the table there is a list of all entries in chunks, which is what a
//! search for the least recently used walks through.
//!
//! A batch is first committed below, then published, then everything that waits may go on (I2). Only that
//! path writes the mirror (I4). Whoever reads the disk in between waits for the publish, unless a layer
//! above makes it unnecessary: see [`Cached::open_below_buffer`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `definitions` | no | `CacheOptions::definitions`: definitions that were read stay in memory, up to a bound |
//!
//! # Related crates
//!
//! `shape-meta-core` (the traits and the data), `shape-meta-sqlite` (the durable store),
//! `shape-meta-buffer` (the write buffer), `shape-meta` (all of it composed).

#![deny(unsafe_code)]

mod cached;
mod memory;
mod options;

mod apply;
mod read;
mod refresh;
mod sweep;

#[cfg(feature = "definitions")]
mod definitions;
#[cfg(not(feature = "definitions"))]
#[path = "no_definitions.rs"]
mod definitions;
mod draft;
mod in_flight;
mod last_reads;
mod mirror;
mod readers;
mod roster;
mod stalest;

mod fold;
mod slots;
mod table;

#[cfg(test)]
mod tests;

pub use cached::Cached;
pub use memory::CacheMemory;
pub use options::{CacheOptions, LookupIndex};
