use std::{
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::{Entry, Seq};

/// All live entries in the order of creation, for walks over every shape.
///
/// A walk over the table would block the writer for its whole length. This list costs eight bytes a shape and
/// consists of chunks with a lock each, so that a walk and the writer block each other only for one chunk.
///
/// There is one writer at a time. It inserts an added entry before the batch is published, and removes a
/// removed entry after the batch is published. The list therefore contains at least every entry that readers
/// of the table can see.
#[derive(Debug, Default)]
pub(crate) struct EntryList {
    chunks: RwLock<Vec<Arc<Chunk>>>,
    /// Odd while the list holds entries that are not visible yet, or no longer.
    version: AtomicU64,
}

/// A run of consecutive entries.
///
/// Entries are inserted into a chunk and removed from it, but never move to another chunk: splitting and
/// merging create new chunks. A walk over a copy of the chunk list therefore misses no entry that was live
/// when it began.
#[derive(Debug)]
pub(crate) struct Chunk {
    first: Seq,
    entries: RwLock<Vec<Arc<Entry>>>,
}

/// The maximum number of entries in a chunk. A walk over a full chunk takes some 50 microseconds, and a
/// removal of one entry takes one.
const CHUNK: usize = 4096;

impl Chunk {
    fn new(entries: Vec<Arc<Entry>>) -> Arc<Self> {
        let first = entries.first().map_or(Seq::ZERO, |entry| entry.created());
        Arc::new(Self { first, entries: RwLock::new(entries) })
    }

    /// Returns the entries. The writer waits while the guard is held.
    pub(crate) fn entries(&self) -> RwLockReadGuard<'_, Vec<Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.entries().len()
    }

    /// Removes the given entries, as far as this chunk holds them. Returns the number of remaining entries.
    fn remove(&self, created: &[Seq]) -> usize {
        let mut entries = self.entries_mut();
        if created.len() < CHUNK / 64 {
            for seq in created {
                if let Ok(index) = entries.binary_search_by_key(seq, |entry| entry.created()) {
                    entries.remove(index);
                }
            }
        } else {
            entries.retain(|entry| created.binary_search(&entry.created()).is_err());
        }
        if entries.len() < entries.capacity() / 4 {
            entries.shrink_to_fit();
        }
        entries.len()
    }

    fn entries_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<Entry>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntryList {
    /// Creates a list of these entries, which are in the order of creation.
    pub(crate) fn from_sorted(entries: Vec<Arc<Entry>>) -> Self {
        let mut chunks = Vec::with_capacity(entries.len().div_ceil(CHUNK));
        let mut entries = entries.into_iter();
        while entries.len() > 0 {
            chunks.push(Chunk::new(entries.by_ref().take(CHUNK).collect()));
        }
        Self { chunks: RwLock::new(chunks), ..Self::default() }
    }

    /// Marks the list as changing. Until [`end_change`](Self::end_change), a reader of the list must check in
    /// the table whether an entry is visible.
    pub(crate) fn begin_change(&self) {
        self.version.fetch_or(1, Ordering::SeqCst);
    }

    /// Marks the list as consistent with the table: the batch is published, and its removed entries are
    /// removed here.
    pub(crate) fn end_change(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns a number that changes with every batch; `None` while a batch is changing the list.
    pub(crate) fn version(&self) -> Option<u64> {
        let version = self.version.load(Ordering::SeqCst);
        version.is_multiple_of(2).then_some(version)
    }

    /// Returns the current chunks, in order.
    pub(crate) fn chunks(&self) -> Vec<Arc<Chunk>> {
        self.read().clone()
    }

    /// Returns the chunks that may hold shapes created after `seq`.
    pub(crate) fn chunks_after(&self, seq: Seq) -> Vec<Arc<Chunk>> {
        let chunks = self.read();
        chunks[position(&chunks, seq)..].to_vec()
    }

    /// Returns the chunks that may hold shapes created at or before `seq`.
    pub(crate) fn chunks_up_to(&self, seq: Seq) -> Vec<Arc<Chunk>> {
        let chunks = self.read();
        chunks.iter().take(position(&chunks, seq) + 1).cloned().collect()
    }

    /// Returns the highest `created`.
    pub(crate) fn newest(&self) -> Option<Seq> {
        Some(self.read().last()?.entries().last()?.created())
    }

    /// Returns the entry of the shape with this `created`.
    pub(crate) fn get(&self, created: Seq) -> Option<Arc<Entry>> {
        let chunks = self.read();
        let entries = chunks[..].get(position(&chunks, created))?.entries();
        let index = entries.binary_search_by_key(&created, |entry| entry.created()).ok()?;
        Some(Arc::clone(&entries[index]))
    }

    /// Inserts an entry that the list does not hold yet. Normally it is the newest one and is appended.
    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        let (chunk, at, is_last) = {
            let chunks = self.read();
            let at = position(&chunks, entry.created());
            (chunks.get(at).cloned(), at, at + 1 == chunks.len())
        };
        let Some(chunk) = chunk else { return self.replace_chunks(at..at, &[entry]) };
        let mut entries = chunk.entries_mut();
        let index = entries.partition_point(|other| other.created() < entry.created());
        if entries.len() < CHUNK {
            return entries.insert(index, entry);
        }
        if is_last && index == entries.len() {
            drop(entries);
            return self.replace_chunks(at + 1..at + 1, &[entry]);
        }
        let mut split = entries.clone();
        drop(entries);
        split.insert(index, entry);
        self.replace_chunks(at..at + 1, &split);
    }

    fn replace_chunks(&self, range: Range<usize>, entries: &[Arc<Entry>]) {
        // Too many entries for one chunk are split in halves: a full chunk and one of a single entry would
        // soon add up to very many chunks.
        let len = if entries.len() > CHUNK { entries.len().div_ceil(2) } else { CHUNK };
        self.write().splice(range, entries.chunks(len).map(|part| Chunk::new(part.to_vec())));
    }

    /// Removes the entries with these sequence numbers, which are sorted.
    ///
    /// The cost does not grow with the list, except that merging two chunks moves the chunk pointers behind
    /// them.
    pub(crate) fn remove(&self, mut created: &[Seq]) {
        while let [first, ..] = created {
            let (chunk, next) = {
                let chunks = self.read();
                let at = position(&chunks, *first);
                (chunks.get(at).cloned(), chunks.get(at + 1).map(|next| next.first))
            };
            let Some(chunk) = chunk else { return };
            let end = next.map(|next| created.partition_point(|seq| *seq < next));
            let (in_chunk, later) = created.split_at(end.unwrap_or(created.len()));
            if chunk.remove(in_chunk) <= CHUNK / 4 {
                self.merge(&chunk);
            }
            created = later;
        }
    }

    /// Merges a sparse chunk with a neighbour, if together they fill at most half a chunk. Both are copied
    /// and not drained, for the sake of walks that hold them.
    fn merge(&self, sparse: &Arc<Chunk>) {
        let chunks = self.read();
        let at = position(&chunks, sparse.first);
        let fits = |pair: &Range<usize>| {
            chunks
                .get(pair.clone())
                .is_some_and(|pair| pair.iter().map(|chunk| chunk.len()).sum::<usize>() <= CHUNK / 2)
        };
        let pairs = [at..at + 2, at.wrapping_sub(1)..at + 1];
        let merged = if sparse.len() == 0 { Some(at..at + 1) } else { pairs.into_iter().find(fits) };
        let Some(merged) = merged else { return };
        let entries: Vec<_> =
            chunks[merged.clone()].iter().flat_map(|chunk| chunk.entries().clone()).collect();
        drop(chunks);
        self.replace_chunks(merged, &entries);
    }

    /// Replaces the entry that has the same `created`.
    pub(crate) fn replace(&self, entry: Arc<Entry>) {
        let chunks = self.read();
        let Some(chunk) = chunks.get(position(&chunks, entry.created())) else { return };
        let mut entries = chunk.entries_mut();
        if let Ok(index) = entries.binary_search_by_key(&entry.created(), |other| other.created()) {
            entries[index] = entry;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Chunk>>> {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Chunk>>> {
        self.chunks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the index of the chunk to which a shape with this `created` belongs.
fn position(chunks: &[Arc<Chunk>], created: Seq) -> usize {
    chunks.partition_point(|chunk| chunk.first <= created).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::{cases, entry};

    fn all(list: &EntryList) -> Vec<u64> {
        let chunks = list.chunks();
        chunks
            .iter()
            .flat_map(|chunk| chunk.entries().iter().map(|entry| entry.created().get()).collect::<Vec<_>>())
            .collect()
    }

    /// A run of sequence numbers: whether it is added or removed, its start, its length and its step. Mostly
    /// long runs in the order of creation.
    fn run() -> impl Strategy<Value = (bool, u64, u64, usize)> {
        prop_oneof![
            (any::<bool>(), 0..20_000_u64, 1..6_000_u64, 1..4_usize),
            (Just(false), 0..20_000_u64, 1..20_000_u64, 1..3_usize),
            (Just(true), 20_000..60_000_u64, 1..20_000_u64, 1..3_usize),
        ]
    }

    proptest! {
        #![proptest_config(cases(16))]

        #[test]
        fn insertions_and_removals_match_a_sorted_set(runs in prop::collection::vec(run(), 1..12)) {
            let list = EntryList::default();
            let mut model = BTreeSet::new();
            for (add, from, length, step) in runs {
                let run = (from..from + length).step_by(step);
                if add {
                    for created in run.filter(|created| model.insert(*created)) {
                        list.insert(entry(created));
                    }
                } else {
                    let removed: Vec<_> = run.filter(|created| model.remove(created)).map(Seq::new).collect();
                    list.remove(&removed);
                }
                prop_assert!(all(&list).into_iter().eq(model.iter().copied()));
                for created in [0, 1, from, from + length / 2, from + length] {
                    let got = list.get(Seq::new(created)).map(|entry| entry.created().get());
                    prop_assert_eq!(got, model.get(&created).copied());
                }
                let chunks = list.chunks().len();
                prop_assert!(chunks <= 2 + model.len() * 6 / CHUNK, "{} chunks of {}", chunks, model.len());
            }
        }
    }

    #[test]
    fn a_walk_misses_no_entry_while_chunks_are_merged() {
        let list = EntryList::default();
        (1..=40_000).for_each(|created| list.insert(entry(created)));
        let walk = list.chunks();
        let removed: Vec<_> = (1..=40_000).filter(|created| created % 100 != 0).map(Seq::new).collect();
        list.remove(&removed);
        assert_eq!(all(&list).len(), 400);
        assert_eq!(list.chunks().len(), 1, "few entries do not take many chunks");
        let walked: usize = walk.iter().map(|chunk| chunk.entries().len()).sum();
        assert_eq!(walked, 400);
    }

    /// Returns the number of entries in each chunk.
    fn sizes(list: &EntryList) -> Vec<usize> {
        list.chunks().iter().map(|chunk| chunk.len()).collect()
    }

    fn with_entries(entries: u64) -> EntryList {
        let list = EntryList::default();
        (1..=entries).for_each(|created| list.insert(entry(2 * created)));
        list
    }

    /// Removes the entries of one chunk, except the first `left`.
    fn remove_all_but(list: &EntryList, chunk: usize, left: usize) {
        let removed: Vec<_> =
            list.chunks()[chunk].entries()[left..].iter().map(|entry| entry.created()).collect();
        list.remove(&removed);
    }

    #[test]
    fn chunks_are_filled_in_order_and_split_by_a_late_insert() {
        let list = with_entries(2 * 4_096);
        assert_eq!(sizes(&list), [4_096, 4_096]);
        list.insert(entry(4_001));
        assert_eq!(sizes(&list), [2_049, 2_048, 4_096]);
        list.insert(entry(9_001));
        assert_eq!(sizes(&list), [2_049, 2_048, 2_049, 2_048], "the last one is split as well");
        let list = with_entries(2 * 4_096);
        // After all entries of the first chunk, and before all of the second.
        list.insert(entry(2 * 4_096 + 1));
        assert_eq!(sizes(&list), [2_049, 2_048, 4_096]);
        assert!(all(&list).is_sorted());
    }

    #[test]
    fn a_sparse_chunk_is_merged_with_a_neighbour_that_has_capacity() {
        let list = with_entries(3 * 4_096);
        remove_all_but(&list, 1, 1_025);
        remove_all_but(&list, 0, 1_023);
        assert_eq!(sizes(&list), [2_048, 4_096], "together half a chunk");
        remove_all_but(&list, 1, 1_024);
        assert_eq!(sizes(&list), [2_048, 1_024], "more than half a chunk stays");
        remove_all_but(&list, 0, 1_024);
        assert_eq!(sizes(&list), [2_048]);

        let list = with_entries(4 * 4_096);
        remove_all_but(&list, 1, 500);
        assert_eq!(sizes(&list), [4_096, 500, 4_096, 4_096], "both neighbours are full");
        remove_all_but(&list, 2, 1_000);
        assert_eq!(sizes(&list), [4_096, 1_500, 4_096], "merged with the previous chunk");
        remove_all_but(&list, 2, 400);
        assert_eq!(sizes(&list), [4_096, 1_900]);

        let list = with_entries(2 * 4_096);
        remove_all_but(&list, 1, 300);
        remove_all_but(&list, 0, 1_100);
        assert_eq!(sizes(&list), [1_100, 300], "a quarter is not sparse");
        remove_all_but(&list, 0, 0);
        assert_eq!(sizes(&list), [300]);
    }

    #[test]
    fn a_sparse_chunk_returns_its_memory() {
        for (left, shrinks) in [(1_100, false), (1_024, false), (1_023, true), (7, true)] {
            let chunk = Chunk::new((1..=4_096).map(entry).collect());
            let removed: Vec<_> = (left + 1..=4_096).map(Seq::new).collect();
            assert_eq!(chunk.remove(&removed), left as usize);
            assert_eq!(chunk.entries().capacity() < 4_096, shrinks, "{left}");
        }
    }

    /// Without it, every search for the least recently used shapes would look each of them up in the table.
    #[test]
    fn a_version_is_returned_only_between_changes_and_once() {
        let list = EntryList::default();
        let before = list.version();
        assert!(before.is_some());
        for _ in 0..2 {
            // The second pass: a change that a panic has left unfinished.
            list.begin_change();
            assert_eq!(list.version(), None);
        }
        list.end_change();
        let after = list.version();
        assert!(after.is_some() && after != before);
    }
}
