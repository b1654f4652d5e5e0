use std::sync::Arc;

use shape_meta_core::{Entry, HandleSet, Seq, Timestamp};

use super::entry_list::EntryList;

/// Selects the entries whose last read is longest ago, without sorting all entries.
///
/// It keeps at most twice as many candidates as wanted. When that many are kept, it drops the later half, and
/// the latest remaining candidate becomes a bound for all further entries. Each entry then costs one
/// comparison, and the few that pass it a little more.
pub(crate) struct LruSelection {
    wanted: usize,
    candidates: Vec<Candidate>,
    bound: Option<(Timestamp, Seq)>,
    /// A later time counts as this one: it comes from a clock that was ahead.
    now: Timestamp,
}

/// An entry with a copy of its last-read time. A read during the selection must not change the order.
pub(crate) struct Candidate {
    pub(crate) last_read: Timestamp,
    pub(crate) entry: Arc<Entry>,
}

impl Candidate {
    // The creation order decides among entries with the same time, as after a restart.
    fn rank(&self) -> (Timestamp, Seq) {
        (self.last_read, self.entry.created())
    }
}

impl LruSelection {
    /// Returns the `wanted` least recently used entries of the list, in order, without those in `excluded`
    /// and `hidden`. Entries that were never read do not count.
    ///
    /// Visits every entry once. The writer waits while a chunk of the list is visited.
    pub(crate) fn select(
        entry_list: &EntryList,
        wanted: usize,
        excluded: &HandleSet,
        hidden: &foldhash::HashSet<Seq>,
    ) -> Vec<Candidate> {
        let mut selection = Self { wanted, candidates: Vec::new(), bound: None, now: Timestamp::now() };
        if wanted > 0 {
            for chunk in entry_list.chunks() {
                for entry in chunk.entries().iter() {
                    selection.offer(entry, |entry| {
                        !excluded.contains(entry.handle()) && !hidden.contains(&entry.created())
                    });
                }
            }
        }
        selection.shorten();
        selection.candidates.sort_unstable_by_key(Candidate::rank);
        selection.candidates
    }

    fn offer(&mut self, entry: &Arc<Entry>, is_wanted: impl Fn(&Entry) -> bool) {
        let Some(last_read) = entry.last_read() else { return };
        let last_read = last_read.min(self.now);
        // The cheap condition comes first: most entries fail it, and it reads only the time.
        let is_later = |(latest, last): (Timestamp, Seq)| {
            latest < last_read || latest == last_read && last <= entry.created()
        };
        if self.bound.is_some_and(is_later) || !is_wanted(entry) {
            return;
        }
        self.candidates.push(Candidate { last_read, entry: Arc::clone(entry) });
        if self.candidates.len() >= self.wanted.saturating_mul(2) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        if self.candidates.len() > self.wanted {
            self.candidates.select_nth_unstable_by_key(self.wanted, Candidate::rank);
            self.candidates.truncate(self.wanted);
            self.bound = self.candidates.iter().map(Candidate::rank).max();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{cases, entry};

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn selection_equals_sorting_all_entries(
            times in prop::collection::vec(prop_oneof![Just(0), 1..40_u64, 0..1_u64 << 50], 0..6000),
            wanted in prop_oneof![0..4_usize, 0..7000_usize, Just(usize::MAX)],
            each_excluded in 2..9_u64,
        ) {
            let entry_list = EntryList::default();
            let (mut excluded, mut hidden) = (HandleSet::new(), foldhash::HashSet::default());
            let mut expected = Vec::new();
            for (created, at) in (1..).zip(times) {
                let entry = entry(created);
                if at > 0 {
                    entry.touch(Timestamp::from_micros(at));
                }
                match created % each_excluded {
                    0 => { excluded.insert(entry.handle().clone()); }
                    1 if created % 11 == 0 => { hidden.insert(entry.created()); }
                    _ if at > 0 => expected.push((at, created)),
                    _ => {}
                }
                entry_list.insert(entry);
            }
            expected.sort_unstable();
            expected.truncate(wanted);
            let selected: Vec<_> = LruSelection::select(&entry_list, wanted, &excluded, &hidden)
                .into_iter()
                .map(|candidate| (candidate.last_read.as_micros(), candidate.entry.created().get()))
                .collect();
            prop_assert_eq!(selected, expected);
        }
    }

    /// Offers entries with these last-read times in the order of creation. Returns the number of kept
    /// candidates, and of calls of the filter.
    fn offer_all(times: impl Iterator<Item = u64>) -> (usize, usize) {
        let mut selection =
            LruSelection { wanted: 10, candidates: Vec::new(), bound: None, now: Timestamp::now() };
        let filtered = std::cell::Cell::new(0);
        for (created, at) in (1..).zip(times) {
            let entry = entry(created);
            entry.touch(Timestamp::from_micros(at));
            selection.offer(&entry, |_| {
                filtered.set(filtered.get() + 1);
                true
            });
        }
        (selection.candidates.len(), filtered.get())
    }

    #[test]
    fn c1_a_time_in_the_future_counts_as_now() {
        let entry_list = EntryList::default();
        let year = 365 * 86_400_000_000;
        let now = Timestamp::now().as_micros();
        for (created, at) in [(1, now + 20 * year), (2, now + year), (3, now - year)] {
            let entry = entry(created);
            entry.touch(Timestamp::from_micros(at));
            entry_list.insert(entry);
        }
        let none = (HandleSet::new(), foldhash::HashSet::default());
        let found = LruSelection::select(&entry_list, 3, &none.0, &none.1);
        assert_eq!(found.iter().map(|one| one.entry.created().get()).collect::<Vec<_>>(), [3, 1, 2]);
        assert!(found.iter().all(|one| one.last_read <= Timestamp::now()));
    }

    #[test]
    fn at_most_twice_as_many_are_kept_then_later_ones_are_skipped() {
        assert_eq!(offer_all(1..=19), (19, 19));
        assert_eq!(offer_all(1..=20), (10, 20));
        assert_eq!(offer_all(1..=1_000), (10, 20));
        assert_eq!(
            offer_all(std::iter::repeat_n(7, 1_000)),
            (10, 20),
            "those created later are skipped as well"
        );
        assert_eq!(offer_all((1..=1_000).rev()), (10, 1_000));
    }
}
