//! The yardstick: nothing but an evmap of the same data, by handle, with a fast hasher, for one thread.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use evmap::handles::{ReadHandle, WriteHandle};
use foldhash::fast::FixedState;
use shape_meta_core::{Entry, Handle, Metadata};

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text(Handle);

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

pub(crate) struct Shared(Arc<Entry>);

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.0.created() == other.0.created()
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.created().get());
    }
}

pub(crate) struct Inline(Metadata);

impl PartialEq for Inline {
    fn eq(&self, other: &Self) -> bool {
        self.0.created == other.0.created
    }
}

impl Eq for Inline {}

impl Hash for Inline {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.created.get());
    }
}

pub(crate) struct Bare<V: Eq + Hash> {
    read: ReadHandle<Text, V, (), FixedState>,
    _write: WriteHandle<Text, V, (), FixedState>,
    metadata: fn(&V) -> Metadata,
}

pub(crate) fn shared(entries: &[Arc<Entry>]) -> Bare<Shared> {
    Bare::new(entries, |entry| Shared(Arc::clone(entry)), |shared| shared.0.metadata())
}

pub(crate) fn inline(entries: &[Arc<Entry>]) -> Bare<Inline> {
    Bare::new(entries, |entry| Inline(entry.metadata()), |inline| inline.0)
}

impl<V: Eq + Hash> Bare<V> {
    fn new(entries: &[Arc<Entry>], make: fn(&Arc<Entry>) -> V, metadata: fn(&V) -> Metadata) -> Self {
        let options = evmap::Options::default().with_capacity(entries.len());
        // SAFETY: the state of this hasher is fixed, and its clones are equal to it.
        let options = unsafe { options.with_hasher(FixedState::with_seed(7)) };
        // SAFETY: `Text` is hashed and compared by its bytes, and the values by an integer, none of which
        // can change.
        let (mut write, read) = unsafe { options.assert_stable() };
        for entry in entries {
            write.insert(Text(entry.handle().clone()), make(entry));
        }
        write.publish();
        write.publish();
        Self { read, _write: write, metadata }
    }

    pub(crate) fn get(&self, handle: &Handle) -> Metadata {
        // A handle of 32 bytes is copied for the key: that is what a user of evmap would do.
        let value = self.read.get_one(&Text(handle.clone())).expect("live");
        (self.metadata)(&value)
    }
}
