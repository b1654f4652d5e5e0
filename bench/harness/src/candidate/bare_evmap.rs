//! The limit of a read: an evmap of the same entries with a fast hasher, for each thread.

use std::{
    hash::{Hash, Hasher},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use evmap::handles::{ReadHandle, WriteHandle};
use foldhash::fast::FixedState;
use shape_meta::{Entry, Handle, Key, NewShape, Seq};

use super::interface::{Candidate, Client, Facts, Kind, Store, unsupported};
use crate::{data::sample, error::Result};

/// A handle or a key, by its bytes.
#[derive(Clone, PartialEq, Eq)]
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Hash for Bytes<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
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

type Read<const N: usize> = ReadHandle<Bytes<N>, Shared, (), FixedState>;
type Write<const N: usize> = WriteHandle<Bytes<N>, Shared, (), FixedState>;

/// Opens with the first `expected` sample shapes, independent of the directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareEvmap;

impl Candidate for BareEvmap {
    fn name(&self) -> &'static str {
        "bare evmap"
    }

    fn about(&self) -> &'static str {
        "a get from an evmap of the same entries with a fast hasher, and nothing else"
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn open(&self, _: &Path, expected: u64) -> Result<Box<dyn Store>> {
        let entries: Vec<_> =
            (0..expected).map(|number| sample::shape(number).record(Seq::new(number + 1)).entry).collect();
        let (handles, by_handle) = map(&entries, |entry| text(entry.handle()));
        let (keys, by_key) = map(&entries, |entry| Some(Bytes(*entry.key().as_bytes())));
        Ok(Box::new(Open { maps: Mutex::new((by_handle, by_key)), _writers: Mutex::new((handles, keys)) }))
    }
}

fn map<const N: usize>(
    entries: &[Arc<Entry>],
    key: impl Fn(&Entry) -> Option<Bytes<N>>,
) -> (Write<N>, Read<N>) {
    let options = evmap::Options::default().with_capacity(entries.len());
    // SAFETY: the hasher's state is fixed, and its clones are equal.
    let options = unsafe { options.with_hasher(FixedState::with_seed(7)) };
    // SAFETY: keys are hashed and compared by immutable bytes, and values by an integer that never changes.
    let (mut write, read) = unsafe { options.assert_stable() };
    for entry in entries {
        if let Some(key) = key(entry) {
            write.insert(key, Shared(Arc::clone(entry)));
        }
    }
    write.publish();
    write.publish();
    (write, read)
}

fn text(handle: &str) -> Option<Bytes<25>> {
    handle.as_bytes().try_into().ok().map(Bytes)
}

struct Open {
    maps: Mutex<(Read<25>, Read<32>)>,
    _writers: Mutex<(Write<25>, Write<32>)>,
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        let (by_handle, by_key) = &*self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(Reader { by_handle: by_handle.clone(), by_key: by_key.clone() }))
    }

    fn fill(&self, _: &[NewShape]) -> Result {
        unsupported()
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

struct Reader {
    by_handle: Read<25>,
    by_key: Read<32>,
}

impl Client for Reader {
    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        let Some(handle) = text(handle) else { return Ok(None) };
        Ok(self.by_handle.get_one(&handle).map(|shared| {
            let metadata = shared.0.metadata();
            Facts { hash: metadata.hash.get(), state: metadata.state.bits() }
        }))
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.by_key.get_one(&Bytes(*key.as_bytes())).map(|shared| shared.0.handle().clone()))
    }
}
