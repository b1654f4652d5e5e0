//! The maps of the hand-written stores. They change one after the other.

use std::{collections::HashSet, sync::Arc};

use dashmap::DashMap;
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::Facts;

use crate::{Result, record};

struct Kept {
    facts: Facts,
    key: Key,
    relations: Vec<Relation>,
}

#[derive(Default)]
pub(crate) struct Maps {
    by_handle: DashMap<Handle, Kept>,
    by_key: DashMap<Key, Handle>,
    by_relation: DashMap<u32, HashSet<Handle>>,
    /// The definitions that are not on disk yet.
    pub(crate) waiting: DashMap<Handle, Arc<[u8]>>,
}

impl Maps {
    /// Adds a shape whose relations follow.
    pub(crate) fn load(&self, handle: Handle, key: Key, facts: Facts) {
        self.by_key.insert(key, handle.clone());
        self.by_handle.insert(handle, Kept { facts, key, relations: Vec::new() });
    }

    pub(crate) fn load_relation(&self, relation: u32, handle: Handle) {
        if let Some(mut kept) = self.by_handle.get_mut(&*handle) {
            kept.relations.push(Relation::new(relation));
        }
        self.by_relation.entry(relation).or_default().insert(handle);
    }

    pub(crate) fn add(&self, shape: &NewShape, state: u8) {
        let handle = &shape.handle;
        for relation in shape.relations.iter() {
            self.by_relation.entry(relation.oid()).or_default().insert(handle.clone());
        }
        let facts = Facts { hash: shape.hash.get(), state };
        let kept = Kept { facts, key: shape.key, relations: shape.relations.to_vec() };
        self.by_handle.insert(handle.clone(), kept);
        self.by_key.insert(shape.key, handle.clone());
    }

    pub(crate) fn remove(&self, handle: &str) -> Result {
        let (_, kept) = self.by_handle.remove(handle).ok_or("the shape does not exist")?;
        self.by_key.remove(&kept.key);
        for relation in kept.relations {
            if let Some(mut readers) = self.by_relation.get_mut(&relation.oid()) {
                readers.remove(handle);
            }
        }
        Ok(())
    }

    pub(crate) fn facts(&self, handle: &str) -> Option<Facts> {
        self.by_handle.get(handle).map(|kept| kept.facts)
    }

    pub(crate) fn handle_for(&self, key: &Key) -> Option<Handle> {
        self.by_key.get(key).map(|handle| handle.clone())
    }

    pub(crate) fn handles_for_relations(&self, relations: &[Relation]) -> Vec<Handle> {
        let mut handles = Vec::new();
        for relation in relations {
            if let Some(readers) = self.by_relation.get(&relation.oid()) {
                handles.extend(readers.iter().cloned());
            }
        }
        record::distinct(handles, relations.len())
    }
}
