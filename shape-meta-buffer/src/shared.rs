//! State that callers and the flusher share. Each part is a type of its own that knows none of the others.
//!
//! # Locks
//!
//! A thread that holds a lock of this table takes only locks of later rows.
//!
//! | order | lock | held | by |
//! |---|---|---|---|
//! | 1 | `Flusher::repair_lock` | across disk work | a repair; close does not take it |
//! | 2 | `Closer::progress`, `Closer::registration` | for one access | close |
//! | 3 | `Flusher::flush_lock` | across disk work | a flush, the repair of the store below, a pause, the end of close |
//! | 4 | `FlushState::committed` | while the store below publishes | the flush of lock 3, on up to two threads |
//! | 5 | `Overlay::state` | for a look-up or an insertion | readers shared; mutations, seal, commit and drop exclusively |
//! | 6 | `SaveSchedule::next_save` | for one access | the flusher |
//! | 7 | `Pool::state` | for one scheduling decision; never while a store's code runs | threads of the pool, and callers that wake them |
//! | 8 | `RunningThreads::threads` | for one access | threads that flush, and calls that would wait for one |
//!
//! The locks inside [`DurabilityTracker`], [`ReservedHandles`] and their signals, and those of [`Feeds`],
//! come after all of these. Only 5 is ever wanted by a reader or a mutation, and no disk work and no code of
//! an observer runs under it (I5). The queue in front of 5 has a lock for its list, which is held for one
//! access and taken without any other.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    DurabilityTracker, Observer, Pending, Receipt, RequestFlush, ReservedHandles, Result, Seq, ShapeStore,
    ShapeWaits, feed::Feeds,
};

use crate::{
    BufferOptions,
    backpressure::Backpressure,
    memtable::{Generation, Overlay},
    requests::FlushRequests,
};

/// The parts of a buffered store that callers and the flusher share.
pub(crate) struct Shared<S> {
    /// The store below.
    pub(crate) store: S,
    pub(crate) options: BufferOptions,
    pub(crate) observer: Arc<dyn Observer>,
    /// Whether the observer wants the latencies of mutations.
    pub(crate) measures_latency: bool,
    /// Pending changes, and the state of writing.
    pub(crate) overlay: Overlay,
    /// What receipts wait on.
    pub(crate) durability: Arc<DurabilityTracker>,
    pub(crate) backpressure: Backpressure,
    /// Handles whose stored data is being deleted. Checked and reserved under the overlay's lock, 5.
    pub(crate) reserved: Arc<ReservedHandles>,
    pub(crate) requests: Arc<FlushRequests>,
    /// The waits for shapes. Woken without a lock of the table.
    pub(crate) waits: Arc<ShapeWaits>,
    /// Subscribed to, and emitted to, under the overlay's lock, 5; delivered to without it.
    pub(crate) feeds: Arc<Feeds>,
    /// The last sequence number at the open.
    pub(crate) opened_at: Seq,
}

impl<S: ShapeStore> Shared<S> {
    /// Over this store, with nothing pending.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub(crate) fn new(
        store: S,
        options: BufferOptions,
        observer: Arc<dyn Observer>,
        feeds: Arc<Feeds>,
    ) -> Result<Self> {
        let (counts, last) = (store.counts()?, store.last_seq()?);
        let backpressure = Backpressure::new(&options);
        let requests = Arc::new(FlushRequests::default());
        let durability = DurabilityTracker::observed(last, Arc::clone(&observer))
            .requesting(Arc::clone(&requests) as Arc<dyn RequestFlush>);
        Ok(Self {
            store,
            overlay: Overlay::new(counts, last, &options, Arc::clone(&backpressure.capacity)),
            durability: Arc::new(durability),
            measures_latency: observer.wants_acknowledged(),
            observer,
            reserved: Arc::new(ReservedHandles::new(Arc::clone(&backpressure.capacity))),
            backpressure,
            requests,
            waits: Arc::default(),
            feeds,
            opened_at: last,
            options,
        })
    }
}

impl<S> Shared<S> {
    /// Returns the receipt of the mutation with this sequence number.
    pub(crate) fn receipt(&self, seq: Seq) -> Receipt {
        Receipt::new(seq, Arc::clone(&self.durability))
    }

    /// Returns a receipt for everything up to this sequence number.
    pub(crate) fn receipt_up_to(&self, seq: Seq) -> Receipt {
        Receipt::up_to(seq, Arc::clone(&self.durability))
    }

    /// Requests a flush of everything accepted so far, and returns the receipt for that.
    pub(crate) fn request_flush(&self) -> Receipt {
        let receipt = self.receipt_up_to(self.overlay.last());
        self.requests.request_flush(receipt.seq());
        receipt
    }

    pub(crate) fn pending(&self) -> Pending {
        let state = self.overlay.read();
        Pending {
            shapes: state.pending_shapes(),
            mutations: state.pending().map(Generation::mutations).sum(),
            bytes: state.pending_bytes(),
            oldest: state.since().map(|since| since.elapsed()),
            net: state.net(),
        }
    }

    /// Returns the age of the oldest pending change.
    pub(crate) fn oldest_pending(&self) -> Option<Duration> {
        let since = self.overlay.read().since();
        since.map(|since| since.elapsed())
    }
}
