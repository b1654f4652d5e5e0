use std::ops::{Index, IndexMut};

use super::Slot;

const CHUNK: usize = 4_096;

/// A list of slots that never moves more than a chunk of them when it grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    /// All but the last are full, or reserved ones follow that are empty.
    chunks: Vec<Vec<Slot>>,
    len: usize,
}

impl Slots {
    pub(crate) fn with_capacity(slots: usize) -> Self {
        let chunks = (0..slots).step_by(CHUNK).map(|_| Vec::with_capacity(slots.min(CHUNK)));
        Self { chunks: chunks.collect(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, slot: Slot) {
        let at = self.len / CHUNK;
        if at == self.chunks.len() {
            // The first one grows from nothing, for stores that hold little.
            self.chunks.push(if at == 0 { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        self.chunks[at].push(slot);
        self.len += 1;
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Slot> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.from(0)
    }

    /// Returns the slots from this one on.
    pub(crate) fn from(&self, at: usize) -> impl Iterator<Item = &Slot> {
        let chunks = self.chunks.get(at / CHUNK..).unwrap_or_default();
        let first = chunks.first().and_then(|chunk| chunk.get(at % CHUNK..)).unwrap_or_default();
        first.iter().chain(chunks.iter().skip(1).flatten())
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, at: usize) -> &Slot {
        &self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

#[cfg(test)]
impl Slots {
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}
