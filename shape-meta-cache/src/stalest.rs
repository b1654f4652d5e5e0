use std::sync::Arc;

use shape_meta_core::{Entry, HandleSet, Seq, Timestamp};

use crate::roster::Roster;

/// Selects the entries whose last read is longest ago, without sorting all of them.
///
/// It keeps at most twice as many as are asked for. When there are so many, it drops the later half, and
/// from then on knows a time that all further ones must be before. So each entry costs a comparison, and
/// the few that pass it a little more.
pub(crate) struct Stalest {
    wanted: usize,
    kept: Vec<Candidate>,
    bound: Option<(Timestamp, Seq)>,
}

/// Times are copied when they are seen: a read in the middle of the selection must not change the order
/// under it.
pub(crate) struct Candidate {
    pub(crate) at: Timestamp,
    pub(crate) entry: Arc<Entry>,
}

impl Candidate {
    // Creation decides among those that were read at the same time, as after a restart.
    fn rank(&self) -> (Timestamp, Seq) {
        (self.at, self.entry.created())
    }
}

impl Stalest {
    /// The stalest so many on the roster that are not excluded, in order.
    pub(crate) fn select(
        roster: &Roster,
        wanted: usize,
        excluded: &HandleSet,
        passed_over: &foldhash::HashSet<Seq>,
    ) -> Vec<Candidate> {
        let mut stalest = Self { wanted, kept: Vec::new(), bound: None };
        if wanted > 0 {
            for chunk in roster.chunks() {
                for entry in chunk.entries().iter() {
                    stalest.offer(entry, |entry| {
                        !excluded.contains(entry.handle()) && !passed_over.contains(&entry.created())
                    });
                }
            }
        }
        stalest.shorten();
        stalest.kept.sort_unstable_by_key(Candidate::rank);
        stalest.kept
    }

    fn offer(&mut self, entry: &Arc<Entry>, is_wanted: impl Fn(&Entry) -> bool) {
        let Some(at) = entry.last_read() else { return };
        // In this order: most fail at the first, which looks at nothing but the time.
        if self.bound.is_some_and(|(latest, last)| latest < at || latest == at && last <= entry.created())
            || !is_wanted(entry)
        {
            return;
        }
        self.kept.push(Candidate { at, entry: Arc::clone(entry) });
        if self.kept.len() >= self.wanted.saturating_mul(2) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        if self.kept.len() > self.wanted {
            self.kept.select_nth_unstable_by_key(self.wanted, Candidate::rank);
            self.kept.truncate(self.wanted);
            self.bound = self.kept.iter().map(Candidate::rank).max();
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

        /// As sorting everything would say.
        #[test]
        fn are_what_sorting_says(
            times in prop::collection::vec(prop_oneof![Just(0), 1..40_u64, any::<u64>()], 0..6000),
            wanted in prop_oneof![0..4_usize, 0..7000_usize, Just(usize::MAX)],
            each_excluded in 2..9_u64,
        ) {
            let roster = Roster::default();
            let (mut excluded, mut passed_over) = (HandleSet::new(), foldhash::HashSet::default());
            let mut expected = Vec::new();
            for (created, at) in (1..).zip(times) {
                let entry = entry(created);
                if at > 0 {
                    entry.touch(Timestamp::from_micros(at));
                }
                match created % each_excluded {
                    0 => { excluded.insert(entry.handle().clone()); }
                    1 if created % 11 == 0 => { passed_over.insert(entry.created()); }
                    _ if at > 0 => expected.push((at, created)),
                    _ => {}
                }
                roster.enter(entry);
            }
            expected.sort_unstable();
            expected.truncate(wanted);
            let selected: Vec<_> = Stalest::select(&roster, wanted, &excluded, &passed_over)
                .into_iter()
                .map(|candidate| (candidate.at.as_micros(), candidate.entry.created().get()))
                .collect();
            prop_assert_eq!(selected, expected);
        }
    }

    /// Offers these times in the order of creation. Says how many are kept, and of how many it was asked whether they
    /// are wanted.
    fn offer_all(times: impl Iterator<Item = u64>) -> (usize, usize) {
        let mut stalest = Stalest { wanted: 10, kept: Vec::new(), bound: None };
        let asked = std::cell::Cell::new(0);
        for (created, at) in (1..).zip(times) {
            let entry = entry(created);
            entry.touch(Timestamp::from_micros(at));
            stalest.offer(&entry, |_| {
                asked.set(asked.get() + 1);
                true
            });
        }
        (stalest.kept.len(), asked.get())
    }

    #[test]
    fn at_most_twice_as_many_are_kept_and_then_later_ones_cost_a_comparison() {
        assert_eq!(offer_all(1..=19), (19, 19));
        assert_eq!(offer_all(1..=20), (10, 20));
        assert_eq!(offer_all(1..=1_000), (10, 20));
        assert_eq!(
            offer_all(std::iter::repeat_n(7, 1_000)),
            (10, 20),
            "nor are those that were created later"
        );
        assert_eq!(offer_all((1..=1_000).rev()), (10, 1_000));
    }
}
