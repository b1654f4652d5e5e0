use std::sync::Arc;

use foldhash::fast::RandomState;
use quick_cache::{OptionsBuilder, Weighter, sync::Cache, sync::DefaultLifecycle};
use shape_meta_core::{Entry, Record, Seq};

/// Records that were read from the store below, the ones that are read again and again, up to a bound in bytes.
///
/// The mirror is never wrong about what is live, so that is what is asked first; this only saves reading what belongs
/// to a live entry. A read fills it, unlike the mirror (I4): a definition never changes, and a place in the order is
/// never given twice, so what is kept here cannot become wrong, only superfluous.
#[derive(Debug)]
pub(crate) struct Definitions(Option<Kept>);

type Kept = Cache<Seq, Arc<Record>, Weigh, RandomState>;

#[derive(Clone, Copy, Debug)]
struct Weigh;

/// What a record costs besides its bytes: the counts of two `Arc`s, and the place in the cache with its share of the hash table
/// and of the keys that are remembered after they went.
const PLACE: usize = 160;
/// What a record is thought to take when nobody knows yet.
const USUAL: u64 = 512;

impl Weighter<Seq, Arc<Record>> for Weigh {
    fn weight(&self, _: &Seq, record: &Arc<Record>) -> u64 {
        (record.memory() - record.entry.memory() + PLACE) as u64
    }
}

impl Definitions {
    /// Up to so many bytes; with 0 nothing is kept.
    pub(crate) fn new(bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .weight_capacity(bytes as u64)
            .estimated_items_capacity(bytes / USUAL as usize)
            .build();
        let kept = options.ok().filter(|_| bytes > 0);
        Self(kept.map(|options| {
            Cache::with_options(options, Weigh, RandomState::default(), DefaultLifecycle::default())
        }))
    }

    /// The record that belongs to this very entry. At the same place there may be one of another database, after a standby
    /// has followed its owner to one; its entry is another object.
    pub(crate) fn get(&self, entry: &Arc<Entry>) -> Option<Arc<Record>> {
        let record = self.0.as_ref()?.get(&entry.created())?;
        Arc::ptr_eq(&record.entry, entry).then_some(record)
    }

    /// Keeps what was read, for as long as there is room and it is asked for.
    pub(crate) fn keep(&self, record: &Arc<Record>) {
        if let Some(kept) = &self.0 {
            kept.insert(record.entry.created(), Arc::clone(record));
        }
    }

    /// These shapes are gone. A read of one that began before may still bring it back; then it lies here until
    /// others need the room, and nobody can ask for it.
    pub(crate) fn forget(&self, gone: &[Seq]) {
        let Some(kept) = &self.0 else { return };
        if gone.len() < kept.len() {
            gone.iter().for_each(|created| drop(kept.remove(created)));
        } else if !gone.is_empty() {
            // After a reset, for one.
            kept.retain(|created, _| gone.binary_search(created).is_err());
        }
    }

    /// How many bytes are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| usize::try_from(kept.weight()).unwrap_or(usize::MAX))
    }
}
