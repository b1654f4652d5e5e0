use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use shape_meta_core::{Key, Relation};

/// The hash function of the overlay, computed once per call and outside of its lock.
///
/// The same hash serves the filters and the tables of all generations. It is seeded at random for each store,
/// since handles come from requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashing(RandomState);

impl Hashing {
    pub(crate) fn handle(&self, handle: &[u8]) -> u64 {
        self.0.hash_one(handle)
    }

    pub(crate) fn key(&self, key: &Key) -> u64 {
        self.0.hash_one(key.as_bytes())
    }

    pub(crate) fn relation(&self, relation: Relation) -> u64 {
        self.0.hash_one(relation.oid())
    }
}
