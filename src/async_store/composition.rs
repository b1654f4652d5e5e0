use std::sync::Arc;

use super::{BlockingPool, Workers};
use crate::layers::{Layers, buffer, cache};

/// What the futures of a store need to know about its composition, with its threads.
#[derive(Clone)]
pub(crate) struct Futures {
    pub(crate) workers: Arc<Workers>,
    pub(crate) memory: MemoryLookups,
    /// Whether a request to flush is served without a caller.
    pub(crate) background_flush: bool,
    /// Whether a mutation looks its shape up on the thread of its caller.
    looks_up_here: bool,
}

/// Which look-ups a composition answers from memory, on the thread of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MemoryLookups {
    Nothing,
    ByHandle,
    /// By handle, by key and by relation.
    All,
}

impl Futures {
    pub(crate) fn of(layers: &Layers, workers: Option<Arc<Workers>>) -> Self {
        let memory = match &layers.cache {
            None => MemoryLookups::Nothing,
            Some(options) if cache::needs_indexes_below(options) => MemoryLookups::ByHandle,
            Some(_) => MemoryLookups::All,
        };
        Self {
            workers: workers.unwrap_or_else(|| Workers::new(None::<&BlockingPool>)),
            memory,
            background_flush: layers.buffer.as_ref().is_none_or(buffer::flushes_in_background),
            // Without a buffer, the queue of the direct composition has a thread of its own for futures.
            looks_up_here: layers.buffer.is_some(),
        }
    }

    /// Whether a mutation may read the disk on the thread that submits it.
    pub(crate) fn submits_on_disk(&self) -> bool {
        self.looks_up_here && self.memory < MemoryLookups::All
    }
}
