use std::{
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::{Entry, Seq};

/// All live entries in the order of creation.
///
/// The table of the mirror is made for look-ups; who walks it holds up the writer for as long as that
/// takes. So what has to be walked stands here once more, for eight bytes a shape. It is cut in chunks with
/// a lock each, so that neither a walk nor the writer waits long for the other.
///
/// There is one writer at a time. It enters what is added before that is published, and strikes what is
/// removed after that is published: all that readers of the mirror can see is on the roster.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    chunks: RwLock<Vec<Arc<Chunk>>>,
    /// Odd while entries are on it that are not to be seen yet, or no more.
    edition: AtomicU64,
}

/// A run of entries. They are entered into it and struck from it, but a chunk never hands them to another
/// one: chunks are divided and merged by making new ones. So a walk over the chunks of one moment misses nothing that was live then.
#[derive(Debug)]
pub(crate) struct Chunk {
    first: Seq,
    entries: RwLock<Vec<Arc<Entry>>>,
}

/// The most entries of a chunk. Walking it takes some 50 microseconds, striking one entry from it one.
const CHUNK: usize = 4096;

impl Chunk {
    fn new(entries: Vec<Arc<Entry>>) -> Arc<Self> {
        let first = entries.first().map_or(Seq::ZERO, |entry| entry.created());
        Arc::new(Self { first, entries: RwLock::new(entries) })
    }

    /// The entries; the writer waits while they are held.
    pub(crate) fn entries(&self) -> RwLockReadGuard<'_, Vec<Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.entries().len()
    }

    /// Strikes those of these that are in it, and says how many are left.
    fn strike(&self, created: &[Seq]) -> usize {
        let mut entries = self.entries_mut();
        if created.len() < CHUNK / 64 {
            for one in created {
                if let Ok(place) = entries.binary_search_by_key(one, |entry| entry.created()) {
                    entries.remove(place);
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

impl Roster {
    /// With these entries, which are in the order of creation.
    pub(crate) fn of(entries: Vec<Arc<Entry>>) -> Self {
        let mut chunks = Vec::with_capacity(entries.len().div_ceil(CHUNK));
        let mut entries = entries.into_iter();
        while entries.len() > 0 {
            chunks.push(Chunk::new(entries.by_ref().take(CHUNK).collect()));
        }
        Self { chunks: RwLock::new(chunks), ..Self::default() }
    }

    /// A batch is about to be entered; until [`end_change`](Self::end_change), who reads the roster must
    /// ask the mirror whether it may show what it finds.
    pub(crate) fn begin_change(&self) {
        self.edition.fetch_or(1, Ordering::SeqCst);
    }

    /// The batch is published, and what it removes is struck.
    pub(crate) fn end_change(&self) {
        self.edition.fetch_add(1, Ordering::SeqCst);
    }

    /// Something that stays the same as long as the roster does; `None` while it is changing.
    pub(crate) fn edition(&self) -> Option<u64> {
        let edition = self.edition.load(Ordering::SeqCst);
        edition.is_multiple_of(2).then_some(edition)
    }

    /// The chunks of this moment, in order.
    pub(crate) fn chunks(&self) -> Vec<Arc<Chunk>> {
        self.read().clone()
    }

    /// Those in which shapes may stand that were created after this place.
    pub(crate) fn chunks_after(&self, place: Seq) -> Vec<Arc<Chunk>> {
        let chunks = self.read();
        chunks[position(&chunks, place)..].to_vec()
    }

    /// The entry of the shape that was created at this place.
    pub(crate) fn get(&self, created: Seq) -> Option<Arc<Entry>> {
        let chunks = self.read();
        let entries = chunks[..].get(position(&chunks, created))?.entries();
        let at = entries.binary_search_by_key(&created, |entry| entry.created()).ok()?;
        Some(Arc::clone(&entries[at]))
    }

    /// Enters an entry that is not on the roster: at the end, when it is newer than all others, as it is
    /// but in strange histories.
    pub(crate) fn enter(&self, entry: Arc<Entry>) {
        let (chunk, at, is_last) = {
            let chunks = self.read();
            let at = position(&chunks, entry.created());
            (chunks.get(at).cloned(), at, at + 1 == chunks.len())
        };
        let Some(chunk) = chunk else { return self.replace(at..at, &[entry]) };
        let mut entries = chunk.entries_mut();
        let place = entries.partition_point(|other| other.created() < entry.created());
        if entries.len() < CHUNK {
            return entries.insert(place, entry);
        }
        if is_last && place == entries.len() {
            drop(entries);
            return self.replace(at + 1..at + 1, &[entry]);
        }
        let mut halved = entries.clone();
        drop(entries);
        halved.insert(place, entry);
        self.replace(at..at + 1, &halved);
    }

    fn replace(&self, range: Range<usize>, entries: &[Arc<Entry>]) {
        // In halves, if at all: one full chunk and one of a single entry would soon be very many.
        let part = if entries.len() > CHUNK { entries.len().div_ceil(2) } else { CHUNK };
        self.write().splice(range, entries.chunks(part).map(|part| Chunk::new(part.to_vec())));
    }

    /// Strikes these entries, which are in order. Costs nothing that grows with the roster, but for moving
    /// its list of chunks when two of them are merged.
    pub(crate) fn strike(&self, mut created: &[Seq]) {
        while let [first, ..] = created {
            let (chunk, next) = {
                let chunks = self.read();
                let at = position(&chunks, *first);
                (chunks.get(at).cloned(), chunks.get(at + 1).map(|next| next.first))
            };
            let Some(chunk) = chunk else { return };
            let end = next.map(|next| created.partition_point(|one| *one < next));
            let (here, later) = created.split_at(end.unwrap_or(created.len()));
            if chunk.strike(here) <= CHUNK / 4 {
                self.merge(&chunk);
            }
            created = later;
        }
    }

    /// Puts what is left of a sparse chunk together with a neighbour, if there is one that is no fuller
    /// than half of a chunk with it. Both are copied and not emptied, for walks that hold them.
    fn merge(&self, sparse: &Arc<Chunk>) {
        let chunks = self.read();
        let at = position(&chunks, sparse.first);
        let few = |pair: &Range<usize>| {
            chunks
                .get(pair.clone())
                .is_some_and(|pair| pair.iter().map(|one| one.len()).sum::<usize>() <= CHUNK / 2)
        };
        let pairs = [at..at + 2, at.wrapping_sub(1)..at + 1];
        let merged = if sparse.len() == 0 { Some(at..at + 1) } else { pairs.into_iter().find(few) };
        let Some(merged) = merged else { return };
        let entries: Vec<_> =
            chunks[merged.clone()].iter().flat_map(|chunk| chunk.entries().clone()).collect();
        drop(chunks);
        self.replace(merged, &entries);
    }

    /// Puts the entry in the place of the one with the same id.
    pub(crate) fn replace_one(&self, entry: Arc<Entry>) {
        let chunks = self.read();
        let Some(chunk) = chunks.get(position(&chunks, entry.created())) else { return };
        let mut entries = chunk.entries_mut();
        if let Ok(at) = entries.binary_search_by_key(&entry.created(), |other| other.created()) {
            entries[at] = entry;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Chunk>>> {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Chunk>>> {
        self.chunks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chunk in which an entry that was created at this place would stand.
fn position(chunks: &[Arc<Chunk>], created: Seq) -> usize {
    chunks.partition_point(|chunk| chunk.first <= created).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::{cases, entry};

    fn all(roster: &Roster) -> Vec<u64> {
        let chunks = roster.chunks();
        chunks
            .iter()
            .flat_map(|chunk| chunk.entries().iter().map(|entry| entry.created().get()).collect::<Vec<_>>())
            .collect()
    }

    /// Adds or not, from, how many, each so many: long runs in the order of creation, and a few that are
    /// not.
    fn run() -> impl Strategy<Value = (bool, u64, u64, usize)> {
        prop_oneof![
            (any::<bool>(), 0..20_000_u64, 1..6_000_u64, 1..4_usize),
            (Just(false), 0..20_000_u64, 1..20_000_u64, 1..3_usize),
            (Just(true), 20_000..60_000_u64, 1..20_000_u64, 1..3_usize),
        ]
    }

    proptest! {
        #![proptest_config(cases(16))]

        /// Runs of entries come and go, new ones mostly, and the roster is always what a sorted set is.
        #[test]
        fn is_a_sorted_set(runs in prop::collection::vec(run(), 1..12)) {
            let roster = Roster::default();
            let mut model = BTreeSet::new();
            for (add, from, length, step) in runs {
                let run = (from..from + length).step_by(step);
                if add {
                    for created in run.filter(|created| model.insert(*created)) {
                        roster.enter(entry(created));
                    }
                } else {
                    let gone: Vec<_> = run.filter(|created| model.remove(created)).map(Seq::new).collect();
                    roster.strike(&gone);
                }
                prop_assert!(all(&roster).into_iter().eq(model.iter().copied()));
                for created in [0, 1, from, from + length / 2, from + length] {
                    let got = roster.get(Seq::new(created)).map(|entry| entry.created().get());
                    prop_assert_eq!(got, model.get(&created).copied());
                }
                let chunks = roster.chunks().len();
                prop_assert!(chunks <= 2 + model.len() * 6 / CHUNK, "{} chunks of {}", chunks, model.len());
            }
        }
    }

    #[test]
    fn a_walk_misses_nothing_while_chunks_are_merged() {
        let roster = Roster::default();
        (1..=40_000).for_each(|created| roster.enter(entry(created)));
        let walk = roster.chunks();
        let gone: Vec<_> = (1..=40_000).filter(|created| created % 100 != 0).map(Seq::new).collect();
        roster.strike(&gone);
        assert_eq!(all(&roster).len(), 400);
        assert_eq!(roster.chunks().len(), 1, "few entries do not take many chunks");
        let walked: usize = walk.iter().map(|chunk| chunk.entries().len()).sum();
        assert_eq!(walked, 400);
    }

    /// How many entries each chunk has.
    fn sizes(roster: &Roster) -> Vec<usize> {
        roster.chunks().iter().map(|chunk| chunk.len()).collect()
    }

    fn of(entries: u64) -> Roster {
        let roster = Roster::default();
        (1..=entries).for_each(|created| roster.enter(entry(2 * created)));
        roster
    }

    /// All but so many of those whose chunk this is.
    fn strike_all_but(roster: &Roster, chunk: usize, left: usize) {
        let struck: Vec<_> =
            roster.chunks()[chunk].entries()[left..].iter().map(|entry| entry.created()).collect();
        roster.strike(&struck);
    }

    #[test]
    fn chunks_are_filled_one_after_the_other_and_halved_where_one_comes_late() {
        let roster = of(2 * 4_096);
        assert_eq!(sizes(&roster), [4_096, 4_096]);
        roster.enter(entry(4_001));
        assert_eq!(sizes(&roster), [2_049, 2_048, 4_096]);
        roster.enter(entry(9_001));
        assert_eq!(sizes(&roster), [2_049, 2_048, 2_049, 2_048], "the last one, too");
        let roster = of(2 * 4_096);
        // Behind all of the first chunk, and before all of the second.
        roster.enter(entry(2 * 4_096 + 1));
        assert_eq!(sizes(&roster), [2_049, 2_048, 4_096]);
        assert!(all(&roster).is_sorted());
    }

    #[test]
    fn what_is_left_of_a_sparse_chunk_goes_to_a_neighbour_with_room() {
        let roster = of(3 * 4_096);
        strike_all_but(&roster, 1, 1_025);
        strike_all_but(&roster, 0, 1_023);
        assert_eq!(sizes(&roster), [2_048, 4_096], "as many as half a chunk holds");
        strike_all_but(&roster, 1, 1_024);
        assert_eq!(sizes(&roster), [2_048, 1_024], "not more");
        strike_all_but(&roster, 0, 1_024);
        assert_eq!(sizes(&roster), [2_048]);

        let roster = of(4 * 4_096);
        strike_all_but(&roster, 1, 500);
        assert_eq!(sizes(&roster), [4_096, 500, 4_096, 4_096], "both neighbours are full");
        strike_all_but(&roster, 2, 1_000);
        assert_eq!(sizes(&roster), [4_096, 1_500, 4_096], "to the one before it");
        strike_all_but(&roster, 2, 400);
        assert_eq!(sizes(&roster), [4_096, 1_900]);

        let roster = of(2 * 4_096);
        strike_all_but(&roster, 1, 300);
        strike_all_but(&roster, 0, 1_100);
        assert_eq!(sizes(&roster), [1_100, 300], "a quarter is not sparse");
        strike_all_but(&roster, 0, 0);
        assert_eq!(sizes(&roster), [300]);
    }

    #[test]
    fn a_chunk_of_which_little_is_left_gives_its_memory_back() {
        for (left, gives_back) in [(1_100, false), (1_024, false), (1_023, true), (7, true)] {
            let chunk = Chunk::new((1..=4_096).map(entry).collect());
            let struck: Vec<_> = (left + 1..=4_096).map(Seq::new).collect();
            assert_eq!(chunk.strike(&struck), left as usize);
            assert_eq!(chunk.entries().capacity() < 4_096, gives_back, "{left}");
        }
    }

    /// Without it, every search for the least recently used would look each of them up in the mirror.
    #[test]
    fn an_edition_is_told_while_nothing_changes_and_never_again() {
        let roster = Roster::default();
        let before = roster.edition();
        assert!(before.is_some());
        for _ in 0..2 {
            // The second time after a change that a panic has left without an end.
            roster.begin_change();
            assert_eq!(roster.edition(), None);
        }
        roster.end_change();
        let after = roster.edition();
        assert!(after.is_some() && after != before);
    }
}
