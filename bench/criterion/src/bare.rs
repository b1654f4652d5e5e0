//! The baseline: a bare evmap of the same data, with a fast hasher, for one thread.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use evmap::handles::{ReadHandle, WriteHandle};
use foldhash::fast::FixedState;
use shape_meta_core::{Entry, Handle, Key, Metadata};

#[derive(Clone, PartialEq, Eq)]
pub struct Text(Handle);

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

pub struct Shared(Arc<Entry>);

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

pub struct Inline(Metadata);

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

#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Key);

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

pub struct Bare<K: Clone + Eq + Hash, V: Eq + Hash> {
    read: ReadHandle<K, V, (), FixedState>,
    _write: WriteHandle<K, V, (), FixedState>,
    metadata: fn(&V) -> Metadata,
}

pub fn shared(entries: &[Arc<Entry>]) -> Bare<Text, Shared> {
    let key = |entry: &Entry| Text(entry.handle().clone());
    Bare::new(entries, key, |entry| Shared(Arc::clone(entry)), |shared| shared.0.metadata())
}

pub fn inline(entries: &[Arc<Entry>]) -> Bare<Text, Inline> {
    let key = |entry: &Entry| Text(entry.handle().clone());
    Bare::new(entries, key, |entry| Inline(entry.metadata()), |inline| inline.0)
}

pub fn by_key(entries: &[Arc<Entry>]) -> Bare<Bytes, Shared> {
    let key = |entry: &Entry| Bytes(*entry.key());
    Bare::new(entries, key, |entry| Shared(Arc::clone(entry)), |shared| shared.0.metadata())
}

impl<K: Clone + Eq + Hash, V: Eq + Hash> Bare<K, V> {
    fn new(
        entries: &[Arc<Entry>],
        key: fn(&Entry) -> K,
        make: fn(&Arc<Entry>) -> V,
        metadata: fn(&V) -> Metadata,
    ) -> Self {
        let options = evmap::Options::default().with_capacity(entries.len());
        // SAFETY: the hasher has a fixed seed, so its clones hash alike.
        let options = unsafe { options.with_hasher(FixedState::with_seed(7)) };
        // SAFETY: `Text` and `Bytes` are hashed and compared by their bytes, and the values by an integer.
        // None of these can change.
        let (mut write, read) = unsafe { options.assert_stable() };
        for entry in entries {
            write.insert(key(entry), make(entry));
        }
        write.publish();
        write.publish();
        Self { read, _write: write, metadata }
    }
}

impl<V: Eq + Hash> Bare<Text, V> {
    pub fn get(&self, handle: &Handle) -> Metadata {
        // A handle of 32 bytes is copied for the key, as a user of evmap would do.
        let value = self.read.get_one(&Text(handle.clone())).expect("live");
        (self.metadata)(&value)
    }
}

impl Bare<Bytes, Shared> {
    pub fn get(&self, key: &Key) -> Handle {
        self.read.get_one(&Bytes(*key)).expect("live").0.handle().clone()
    }
}
