use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, PoisonError},
};

use crate::{
    Change, Handle, Seq, Signal, SnapshotState, Waiter,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

/// The waits for shapes of one store, for implementors of a layer on top.
///
/// A layer calls [`marked`](Self::marked) and [`removed`](Self::removed) after a change is visible to
/// readers. A wait [watches](Self::watch) its handle, [listens](Watch::listen), and then looks at the shape.
/// So it sees the change, or the change sees the watch and wakes it.
///
/// Without a wait, a change costs one fence and one atomic load. With waits, it takes a short lock, and wakes
/// those for its handle. A watch takes about 200 bytes, and leaves nothing when it is dropped.
#[derive(Debug, Default)]
pub struct ShapeWaits {
    /// The number of watches.
    count: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_handle: HashMap<Handle, Watched>,
    is_closed: bool,
}

/// A handle that is waited for.
#[derive(Debug)]
struct Watched {
    signal: Arc<Signal>,
    watches: usize,
    /// The latest shape that was marked, by the sequence number of its add, and the state that it has
    /// reached. A wait that is woken for it need not look at the shape, which may take a lock that many
    /// mutations want.
    marked: Option<(Seq, SnapshotState)>,
}

/// A registration of one wait for a handle.
#[derive(Debug)]
pub struct Watch {
    waits: Arc<ShapeWaits>,
    handle: Handle,
    signal: Arc<Signal>,
}

impl ShapeWaits {
    /// Registers a wait. Look at the shape after this call, not before.
    pub fn watch(self: &Arc<Self>, handle: Handle) -> Watch {
        let mut table = self.table();
        let watched = table.by_handle.entry(handle.clone()).or_insert_with(|| Watched {
            signal: Arc::new(Signal::new()),
            watches: 0,
            marked: None,
        });
        watched.watches += 1;
        let signal = Arc::clone(&watched.signal);
        drop(table);
        self.count.fetch_add(1, Ordering::SeqCst);
        // With that of `has_watches`: either this wait sees the change, or the change sees this wait.
        fence(Ordering::SeqCst);
        Watch { waits: Arc::clone(self), handle, signal }
    }

    /// Wakes the waits for a shape that was marked. Call it once readers see that, without a lock.
    pub fn marked(&self, handle: &str, shape: Seq, state: SnapshotState) {
        // Marks of two threads may come here in another order than they were accepted in.
        self.changed(handle, |watched| watched.marked = watched.marked.max(Some((shape, state))));
    }

    /// Wakes the waits for a shape that was removed. Call it once readers see that, without a lock.
    pub fn removed(&self, handle: &str) {
        self.changed(handle, |_| ());
    }

    fn changed(&self, handle: &str, record: impl FnOnce(&mut Watched)) {
        if !self.has_watches() {
            return;
        }
        let signal = self.table().by_handle.get_mut(handle).map(|watched| {
            record(watched);
            Arc::clone(&watched.signal)
        });
        if let Some(signal) = signal {
            signal.raise();
        }
    }

    /// Wakes all waits: after a reset, and where it is not known which shapes have changed.
    pub fn all_changed(&self) {
        if self.has_watches() {
            let take = |watched: &mut Watched| {
                // A mark may be undone.
                watched.marked = None;
                Arc::clone(&watched.signal)
            };
            let signals: Vec<_> = self.table().by_handle.values_mut().map(take).collect();
            signals.iter().for_each(|signal| signal.raise());
        }
    }

    /// Wakes the waits for the effect of a change. Call it once readers see that, without a lock.
    pub fn changed_by(&self, change: &Change) {
        match change {
            Change::Mark { entry, state } => self.marked(entry.handle(), entry.created(), *state),
            Change::Remove { entry } => self.removed(entry.handle()),
            Change::Reset => self.all_changed(),
            // No wait is for a shape that was not there yet, or is not any more.
            Change::Add { .. } | Change::Discard { .. } => {}
        }
    }

    /// Ends all waits, and later ones: the store is closed, and no shape changes any more.
    pub fn close(&self) {
        self.table().is_closed = true;
        self.all_changed();
    }

    /// Whether the store is closed.
    pub fn is_closed(&self) -> bool {
        self.table().is_closed
    }

    /// Returns the number of waits. For tests and gauges.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether there is no wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn has_watches(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) > 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that can panic runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Returns the state that this shape was marked with while a wait watched its handle, if any. Readers
    /// have seen it.
    pub(crate) fn marked(&self, shape: Seq) -> Option<SnapshotState> {
        let marked = self.waits.table().by_handle.get(&self.handle)?.marked;
        marked.filter(|(marked, _)| *marked == shape).map(|(_, state)| state)
    }

    /// Registers for the next change of the shape. Look at the shape after this call.
    pub fn listen(&self) -> Waiter {
        self.signal.listen()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut table = self.waits.table();
        let left = match table.by_handle.entry(self.handle.clone()) {
            Entry::Occupied(mut watched) => {
                watched.get_mut().watches -= 1;
                (watched.get().watches == 0).then(|| watched.remove())
            }
            Entry::Vacant(_) => None,
        };
        if table.by_handle.is_empty() {
            // The table of many waits is freed.
            table.by_handle = HashMap::new();
        }
        drop(table);
        drop(left);
        self.waits.count.fetch_sub(1, Ordering::SeqCst);
    }
}
