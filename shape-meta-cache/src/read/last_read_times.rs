use shape_meta_core::{Seq, Timestamp};

use crate::mirror::EntryList;

/// A copy of the last-read time of each shape, made for one scan.
///
/// It takes 16 bytes for each shape while the scan is open. The scan still lists a shape that is removed
/// meanwhile, and only this copy then has its time.
pub(crate) struct LastReadTimes(Vec<(Seq, Timestamp)>);

impl LastReadTimes {
    /// Copies the times from the entry list, in the order of creation. Shapes that were never read are left
    /// out.
    pub(crate) fn copy_from(entry_list: &EntryList) -> Self {
        let mut times = Vec::new();
        for chunk in entry_list.chunks() {
            times.extend(
                chunk.entries().iter().filter_map(|entry| Some((entry.created(), entry.last_read()?))),
            );
        }
        Self(times)
    }

    /// Updates the times from the entry list. Keeps the times of shapes that are no longer in the list.
    pub(crate) fn update(&mut self, entry_list: &EntryList) {
        let latest = Self::copy_from(entry_list);
        self.0.retain(|(created, _)| latest.get(*created).is_none());
        if self.0.is_empty() {
            *self = latest;
        } else {
            self.0.extend(latest.0);
            self.0.sort_unstable_by_key(|(created, _)| *created);
        }
    }

    pub(crate) fn get(&self, created: Seq) -> Option<Timestamp> {
        let index = self.0.binary_search_by_key(&created, |(created, _)| *created).ok()?;
        Some(self.0[index].1)
    }
}
