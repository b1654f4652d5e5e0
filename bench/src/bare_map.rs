//! The limit of a read: an evmap of the same entries with a fast hasher, for one thread, and nothing else.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use evmap::handles::{ReadHandle, WriteHandle};
use foldhash::fast::FixedState;
use shape_meta::{Entry, Metadata};

/// A handle or a key, by its bytes.
#[derive(Clone, PartialEq, Eq)]
struct Bytes<T: AsRef<[u8]> + Clone + Eq>(T);

impl<T: AsRef<[u8]> + Clone + Eq> Hash for Bytes<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_ref());
    }
}

struct Shared(Arc<Entry>);

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

pub(crate) struct BareMap<T: AsRef<[u8]> + Clone + Eq> {
    read: ReadHandle<Bytes<T>, Shared, (), FixedState>,
    _write: WriteHandle<Bytes<T>, Shared, (), FixedState>,
}

impl<T: AsRef<[u8]> + Clone + Eq> BareMap<T> {
    pub(crate) fn of(entries: &[Arc<Entry>], key: impl Fn(&Entry) -> T) -> Self {
        let options = evmap::Options::default().with_capacity(entries.len());
        // SAFETY: the state of this hasher is fixed, and its clones are equal to it.
        let options = unsafe { options.with_hasher(FixedState::with_seed(7)) };
        // SAFETY: keys are hashed and compared by bytes that nobody can change, and values by an integer
        // that is fixed when the entry is made.
        let (mut write, read) = unsafe { options.assert_stable() };
        for entry in entries {
            write.insert(Bytes(key(entry)), Shared(Arc::clone(entry)));
        }
        write.publish();
        write.publish();
        Self { read, _write: write }
    }

    pub(crate) fn get(&self, key: &T) -> Option<Metadata> {
        self.read.get_one(&Bytes(key.clone())).map(|shared| shared.0.metadata())
    }
}
