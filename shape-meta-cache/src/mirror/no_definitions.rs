use std::sync::Arc;

use shape_meta_core::{Entry, Record, Seq};

/// The definition cache of a build without the feature `definitions`: always empty.
#[derive(Debug)]
pub(crate) struct Definitions;

impl Definitions {
    pub(crate) fn new(_: usize) -> Self {
        Self
    }

    pub(crate) fn get(&self, _: &Arc<Entry>) -> Option<Arc<Record>> {
        None
    }

    pub(crate) fn insert(&self, _: &Arc<Record>, _: u64) {}

    pub(crate) fn cleared(&self) -> u64 {
        0
    }

    pub(crate) fn remove(&self, _: &[Seq]) {}

    pub(crate) fn clear(&self) {}

    pub(crate) fn bytes(&self) -> usize {
        0
    }
}
