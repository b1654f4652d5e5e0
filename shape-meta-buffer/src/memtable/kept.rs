use std::{ops::Deref, sync::Arc};

use shape_meta_core::Signal;

use super::Generation;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of dropped generations that reads still need. They count in the bound in bytes (C7): a read that
/// hangs below makes mutations wait there at last, as a disk that hangs does, and memory does not grow with
/// the flushes that end meanwhile. The read itself is never repeated (I9).
#[derive(Debug)]
pub(crate) struct KeptBytes {
    bytes: AtomicUsize,
    /// Raised when some are freed.
    capacity: Arc<Signal>,
}

impl KeptBytes {
    pub(super) fn new(capacity: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), capacity })
    }

    pub(crate) fn get(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }
}

/// A dropped generation, until the last read ends that needs it.
#[derive(Debug)]
pub(crate) struct Kept {
    generation: Arc<Generation>,
    count: Arc<KeptBytes>,
}

impl Kept {
    pub(super) fn new(generation: Arc<Generation>, count: &Arc<KeptBytes>) -> Self {
        count.bytes.fetch_add(generation.bytes(), Ordering::AcqRel);
        Self { generation, count: Arc::clone(count) }
    }
}

impl Deref for Kept {
    type Target = Arc<Generation>;

    fn deref(&self) -> &Arc<Generation> {
        &self.generation
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.count.bytes.fetch_sub(self.generation.bytes(), Ordering::AcqRel);
        self.count.capacity.raise();
    }
}
