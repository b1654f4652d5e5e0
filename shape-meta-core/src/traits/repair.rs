use std::{borrow::Cow, path::PathBuf, sync::Arc, time::Duration};

use crate::{Entry, Error, Handle, Seq};

/// The result of repairing a damaged database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// The path of the quarantined database. The files that belong to it are in the same directory; nothing
    /// was deleted.
    pub path: PathBuf,
    /// The damage that was found.
    pub error: Error,
    /// The number of shapes in the new database.
    pub saved: u64,
    /// The shapes that could not be carried over, in order of creation. They are removed, and those with a
    /// known handle are handed to the cleaner at the next recovery.
    pub lost: Vec<Lost>,
    /// The number of further shapes that the damaged database counted, but of which no trace was found. 0 if
    /// its count is damaged as well: see `knows_count`.
    pub vanished: u64,
    /// Whether the number of shapes before the damage is known. If not, more shapes than `lost` may be gone.
    pub knows_count: bool,
    /// The number of damaged cleanup tasks: handles of shapes that are gone, of which the stored data is not
    /// deleted. Compare the stored data with the metadata to find it.
    pub lost_cleanups: u64,
    /// The duration of the repair.
    pub took: Duration,
}

/// The in-memory state of a database that was damaged while it was open. A repair trusts it more than the
/// file.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrustedState<'a> {
    /// All live shapes in order of creation, if memory holds them. Shapes that are not among them are then
    /// not carried over.
    pub entries: Option<&'a [Arc<Entry>]>,
    /// The largest sequence number that was committed to disk.
    pub last_seq: Option<Seq>,
}

impl<'a> TrustedState<'a> {
    /// Returns the entry of the shape that was created with this sequence number, if memory holds it. O(log
    /// n).
    pub fn entry(&self, created: Seq) -> Option<&'a Arc<Entry>> {
        let entries = self.entries?;
        let at = entries.binary_search_by_key(&created, |entry| entry.created()).ok()?;
        entries.get(at)
    }
}

/// A shape that could not be carried over from a damaged database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The sequence number of its add.
    pub created: Seq,
    /// Its handle, if it was readable.
    pub handle: Option<Handle>,
    /// The reason.
    pub why: Cow<'static, str>,
}

impl Repaired {
    /// Returns the result of a repair that moved the database to `path` because of `error` and carried
    /// `saved` shapes over.
    pub fn new(path: PathBuf, error: Error, saved: u64, lost: Vec<Lost>) -> Self {
        Self {
            path,
            error,
            saved,
            lost,
            vanished: 0,
            knows_count: true,
            lost_cleanups: 0,
            took: Duration::ZERO,
        }
    }

    /// Returns the number of shapes that were not carried over, as far as it is known.
    pub fn missing(&self) -> u64 {
        self.lost.len() as u64 + self.vanished
    }
}

/// Equal paths mean the same repair: each one quarantines to its own path.
impl PartialEq for Repaired {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Repaired {}
