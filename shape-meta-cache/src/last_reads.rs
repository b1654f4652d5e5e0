use shape_meta_core::{Seq, Timestamp};

use crate::roster::Roster;

/// When each shape was last read, as it was when a scan was made.
///
/// 16 bytes for each, for as long as the scan is open: a shape that is removed meanwhile is still listed,
/// and nobody else remembers its time.
pub(crate) struct LastReads(Vec<(Seq, Timestamp)>);

impl LastReads {
    /// Those of the shapes on the roster, in the order of creation; who was never read is not among them.
    pub(crate) fn of(roster: &Roster) -> Self {
        let mut times = Vec::new();
        for chunk in roster.chunks() {
            times.extend(
                chunk.entries().iter().filter_map(|entry| Some((entry.created(), entry.last_read()?))),
            );
        }
        Self(times)
    }

    /// Brings them up to date, without forgetting those that have left the roster.
    pub(crate) fn update(&mut self, roster: &Roster) {
        let latest = Self::of(roster);
        self.0.retain(|(created, _)| latest.get(*created).is_none());
        if self.0.is_empty() {
            *self = latest;
        } else {
            self.0.extend(latest.0);
            self.0.sort_unstable_by_key(|(created, _)| *created);
        }
    }

    pub(crate) fn get(&self, created: Seq) -> Option<Timestamp> {
        let at = self.0.binary_search_by_key(&created, |(created, _)| *created).ok()?;
        Some(self.0[at].1)
    }
}
