//! A left-right read cache for `shape-meta`: [`Cached`] mirrors the small columns of every shape in memory,
//! over any store, and answers reads from the mirror without a lock.
//!
//! # What it is not
//!
//! It is not a cache with eviction, except for definitions. The mirror holds every live shape, so a miss is
//! the answer and causes no disk read, unless [look-ups are on disk](LookupIndex::Disk). Definitions are not
//! in the mirror: they are read from the store below by row id, and then stay in memory up to a bound, with
//! the [feature](#features) `definitions`. It does not batch writes: each batch is committed below before
//! readers see it. `shape-meta-buffer` on top adds batching.
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
//! #     created_at: None,
//! # };
//! let made = store.get_or_add(&shape, Wait::No)?;
//! // Lock-free reads from memory.
//! assert!(store.validate_handle(&made.handle, shape.hash)?);
//! assert_eq!(store.handle_for(&shape.key)?, Some(made.handle));
//! println!("{} bytes", store.inner().memory().total());
//! # Ok(())
//! # }
//! ```
//!
//! # Trade-offs
//!
//! - Reads are fast and take an even time; writes pay for it. The table is stored twice and each change is
//!   applied twice: about a microsecond in all for each added shape. A publish waits for the readers that are
//!   inside the table: microseconds when it is quiet, tens of milliseconds when more threads than processors
//!   do nothing but read. The cache is therefore meant to be written in batches.
//! - Memory, at a million shapes with one relation each: some 460 bytes a shape, or 340 with
//!   [`LookupIndex::Disk`]. [`Cached::memory`] reports the current size.
//! - The writer stops while it copies the table to a larger one; see [`CacheOptions::initial_capacity`].
//! - Listing all shapes of a relation delays the writer: a third of a millisecond for ten thousand shapes,
//!   and proportionally more for more.
//! - [`last_seq`](shape_meta_core::ReadShapes::last_seq) is published after the snapshot states of the same
//!   batch have changed. It can therefore lag what reads show for a moment. It is never ahead of them.
//!
//! # How it works
//!
//! All indexes share one evmap, a hash table that exists twice: readers use one side, the writer changes the
//! other, and a publish swaps them. A shape is therefore added to all indexes, and removed from all of them,
//! in one step (C1). The table is keyed by 64 bits of a hash with a tag for handle, key or relation. Each
//! value is a pointer to the [`Entry`](shape_meta_core::Entry) of the shape, and a look-up compares the entry
//! before it returns it. Counts and the last sequence number are published together with the table.
//!
//! Fields that change often are not published: the last-read time and the snapshot state are atomics in the
//! entry, which both sides share. A separate list holds all entries in chunks, in the order of creation. The
//! search for the least recently used shapes walks this list.
//!
//! A batch is committed below, then published, and then waiting readers resume (I2). Only this path writes
//! the mirror (I4). A read that touches the disk between commit and publish waits for the publish, unless a
//! layer above makes that unnecessary: see [`Cached::open_below_buffer`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `definitions` | yes | `CacheOptions::definition_cache_bytes`: definitions that were read stay in memory, up to a bound |
//!
//! # Related crates
//!
//! `shape-meta-core` (the traits and the data), `shape-meta-sqlite` (the durable store),
//! `shape-meta-buffer` (the write buffer), `shape-meta` (all of it composed).

#![deny(unsafe_code)]

mod cached;
mod memory;
mod options;

// The layers from the outside in: reads and writes go to the mirror, and the mirror is stored in the table.
mod mirror;
mod read;
mod table;
mod write;

mod join;

#[cfg(test)]
mod tests;

pub use cached::Cached;
pub use memory::CacheMemory;
pub use options::{CacheOptions, LookupIndex};
