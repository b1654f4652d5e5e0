use hashbrown::HashTable;

/// A table has a part for each of these elements that it is allocated for.
const PART_SIZE: usize = 256;
const MAX_PARTS: usize = 64;

/// A hash table in parts that grow one by one, so that no insertion moves more than one of them.
///
/// A table for a single flush grows under the overlay's lock in a storm. As a whole, it took up to 9 ms to do
/// so at 115,000 elements.
#[derive(Clone, Debug)]
pub(crate) struct Table<T>(Box<[HashTable<T>]>);

impl<T> Table<T> {
    pub(crate) fn with_capacity(elements: usize) -> Self {
        let parts = (elements / PART_SIZE).next_power_of_two().min(MAX_PARTS);
        // Some parts get a little more than their share.
        let each = if parts == 1 { elements } else { elements.div_ceil(parts) * 5 / 4 };
        Self((0..parts).map(|_| HashTable::with_capacity(each)).collect())
    }

    /// Returns the part for elements with this hash.
    pub(crate) fn part(&self, hash: u64) -> &HashTable<T> {
        &self.0[self.index(hash)]
    }

    pub(crate) fn part_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        let index = self.index(hash);
        &mut self.0[index]
    }

    /// Uses bits that neither the parts nor the filters use.
    fn index(&self, hash: u64) -> usize {
        (hash >> 24) as usize & (self.0.len() - 1)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

#[cfg(test)]
impl<T> Table<T> {
    pub(crate) fn capacity(&self) -> usize {
        self.0.iter().map(HashTable::capacity).sum()
    }

    pub(crate) fn allocation_size(&self) -> usize {
        self.0.iter().map(HashTable::allocation_size).sum()
    }
}
