use std::{borrow::Cow, path::PathBuf, sync::Arc, time::Duration};

use crate::{Entry, Error, Handle, Seq};

/// What a repair of a damaged database came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// Where the damaged database is now. What belongs to it lies beside it; nothing of it was deleted.
    pub path: PathBuf,
    /// What was found wrong.
    pub error: Error,
    /// How many shapes are in the new database.
    pub saved: u64,
    /// The shapes that could not be saved, in the order of creation, with what of them is known. They are removed,
    /// and those with a handle are given to the cleaner at the next recovery.
    pub lost: Vec<Lost>,
    /// How many shapes more the damaged database counted, of which nothing at all was found; 0 if it cannot be
    /// known because the count is damaged, too.
    pub vanished: u64,
    /// How long it took.
    pub took: Duration,
}

/// What is known of a database besides what its file says, since it was damaged while it was open.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrustedState<'a> {
    /// All live shapes in the order of creation, if memory has them. Others are not saved then.
    pub entries: Option<&'a [Arc<Entry>]>,
    /// How far the order has come on disk.
    pub last_seq: Option<Seq>,
}

impl<'a> TrustedState<'a> {
    /// The entry of the shape that was created at this place, if memory has it.
    pub fn entry(&self, created: Seq) -> Option<&'a Arc<Entry>> {
        let entries = self.entries?;
        let at = entries.binary_search_by_key(&created, |entry| entry.created()).ok()?;
        entries.get(at)
    }
}

/// A shape that could not be saved from a damaged database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The place of its add in the order.
    pub created: Seq,
    /// Its handle, if that could be read.
    pub handle: Option<Handle>,
    /// What is wrong with it.
    pub why: Cow<'static, str>,
}

impl Repaired {
    /// A database was moved aside for this error, and a new one put in its place.
    pub fn new(path: PathBuf, error: Error, saved: u64, lost: Vec<Lost>) -> Self {
        Self { path, error, saved, lost, vanished: 0, took: Duration::ZERO }
    }

    /// How many shapes are not there any more, as far as is known.
    pub fn missing(&self) -> u64 {
        self.lost.len() as u64 + self.vanished
    }
}

/// Each repair has a path of its own.
impl PartialEq for Repaired {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Repaired {}
