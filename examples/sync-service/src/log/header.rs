use serde::{Deserialize, Serialize};

/// The first frame of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The replication slot that has the changes after the snapshot.
    pub(crate) slot: String,
    pub(crate) snapshot: Snapshot,
}

/// Which transactions a snapshot contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Every transaction below is in the snapshot.
    xmin: u64,
    /// No transaction from here on is.
    xmax: u64,
    /// The ones in between that are not.
    in_progress: Vec<u64>,
    /// A position of the WAL after the commits of all transactions in the snapshot.
    wal_end: u64,
}

impl Snapshot {
    /// Reads the text of `pg_current_snapshot()`.
    pub(crate) fn parse(text: &str, wal_end: u64) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let list = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let in_progress = list.map(|xid| xid.parse().ok()).collect::<Option<_>>()?;
        Some(Self { xmin, xmax, in_progress, wal_end })
    }

    /// Returns whether the snapshot contains a transaction, by its identifier and the end of its commit in
    /// the WAL.
    pub(crate) fn contains(&self, xid: u32, commit_end: u64) -> bool {
        // A commit after that position was not visible. So identifiers are compared only for a short time,
        // in which they cannot wrap around.
        if commit_end > self.wal_end {
            return false;
        }
        self.shows(xid)
    }

    /// The same without a position, for a transaction of the last minutes.
    pub(crate) fn shows(&self, xid: u32) -> bool {
        // The replication stream has the lower half of the identifier: the nearest one to `xmax` is meant.
        let distance = xid.wrapping_sub(self.xmax as u32) as i32;
        let xid = self.xmax.wrapping_add_signed(i64::from(distance));
        xid < self.xmin || (xid < self.xmax && !self.in_progress.contains(&xid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_contains_what_was_visible() {
        let snapshot = Snapshot::parse("10:15:11,13", 1_000).expect("valid");
        let visible: Vec<_> = (8..18).filter(|xid| snapshot.contains(*xid, 900)).collect();
        assert_eq!(visible, [8, 9, 10, 12, 14]);
        assert!(!snapshot.contains(8, 1_001));
        let wrapped = Snapshot::parse("4294967296:4294967298:", 1_000).expect("valid");
        assert!(wrapped.contains(u32::MAX, 900) && wrapped.contains(1, 900) && !wrapped.contains(2, 900));
    }
}
