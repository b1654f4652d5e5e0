//! Change feeds (C15): every change of the list of shapes, once and in order, for callers that follow it.
//!
//! # Example
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use shape_meta_core::{*, feed::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver))?;
//! let mut feed = store.subscribe(&FeedOptions::default())?;
//! // After `subscribe`: what changes in between is in both, and applying it twice is harmless.
//! let mut list = ShapeList::of(&store)?;
//! store.reset(Wait::No)?;
//! while let Some(change) = feed.recv_timeout(Duration::ZERO)? {
//!     list.apply(&change);
//! }
//! assert_eq!(feed.position(), store.last_seq()?);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! [`Feeds`] is the fan-out of one store: each subscriber has a bounded queue, and a sender never waits for
//! it. The layer on top emits changes to it: at acceptance, in the order of sequence numbers, and when they
//! are durable. A subscriber whose queue is full is ended, and resumes: from the latest 65,536 changes, which
//! `Feeds` keeps in memory from the first subscription on, or else from the change log of the store.

mod change;
mod error;
mod list;
mod options;

mod queue;
mod recent;

mod fanout;
mod receiver;

pub use change::{ChangedShape, FeedChange, FeedEvent};
pub use error::FeedError;
pub use fanout::{Feeds, Watched};
pub use list::ShapeList;
pub use options::{FeedOptions, FeedStage};
pub use receiver::Feed;
