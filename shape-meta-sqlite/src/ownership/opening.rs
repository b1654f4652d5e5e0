use shape_meta_core::{Error, ErrorKind, Result, Seq};

use crate::{
    format::{
        lineage::Lineage,
        meta::{Meta, Ownership},
    },
    ownership::position::Position,
};

/// What a store knows about its own opening of the database, to recognise it in the row `meta` (C11, C13).
///
/// An epoch orders the openings of one database. It repeats in copies and in other databases, so it is never
/// enough. [`check`](Self::check) is the one check of ownership. It runs:
///
/// - in the transaction of every batch, recovery, acknowledgement of a cleanup, and save of last reads
///   (`Connections::check_owner`);
/// - whenever the writer is opened again: after a failure, a rest, or a repair (`Connections::reopen`);
/// - before a maintenance and before a repair.
///
/// A new opening and the fencing of a live owner begin another opening, and need no check.
/// Readers are checked when they are opened (`Connections::check_reader`).
#[derive(Debug)]
pub(crate) struct Opening {
    ours: Ownership,
    /// The meta row as this opening has last confirmed it. No sound state is behind it.
    confirmed: Meta,
    /// The openings before ours, of which a copy may be put back.
    ancestors: Lineage,
    /// The ownerships of the databases that repairs of this store wrote. The file that is found decides which
    /// repair completed: one that failed half-way may be finished by a later one.
    rebuilt: Vec<Ownership>,
}

impl Opening {
    /// Returns the opening that has just written `meta`; `None` if `meta` has no identities.
    pub(crate) fn new(meta: Meta, ancestors: Lineage) -> Option<Self> {
        Some(Self { ours: Ownership::of(&meta)?, confirmed: meta, ancestors, rebuilt: Vec::new() })
    }

    /// Records that a commit up to this sequence number was confirmed to the caller.
    pub(crate) fn confirm(&mut self, last_seq: Seq) {
        self.confirmed.last_seq = self.confirmed.last_seq.max(last_seq);
    }

    /// Announces the database that a repair of ours is about to put in the place of this one.
    pub(crate) fn rebuilds_as(&mut self, rebuilt: Ownership) {
        self.rebuilt.push(rebuilt);
    }

    pub(crate) fn ownership(&self) -> Ownership {
        self.ours
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.confirmed, None)
    }

    /// Returns an error unless the database is ours, and is not behind what was confirmed. Only valid inside
    /// the transaction that writes, or before the first one of a connection.
    ///
    /// # Errors
    ///
    /// `Fenced` if another opening owns it, or it is another database. `Io` if an older copy of our own line
    /// is in its place, which no other opening owns: it can be replaced by the right file.
    pub(crate) fn check(&mut self, found: &Meta) -> Result<()> {
        self.adopt_rebuilt(found);
        let is_ours = Ownership::of(found) == Some(self.ours);
        let has_no_owner = found.opening.is_none_or(|opening| self.ancestors.has(opening));
        let is_our_line =
            found.database.is_none_or(|database| database == self.ours.database) && has_no_owner;
        if (is_ours || is_our_line) && found.last_seq < self.confirmed.last_seq {
            return Err(behind(found.last_seq, self.confirmed.last_seq));
        }
        if is_ours { Ok(()) } else { Err(self.fenced(found, is_our_line)) }
    }

    /// Goes over to the database that a repair of ours has put in place, if it is the one that was found.
    /// Returns whether it is.
    pub(crate) fn adopt_rebuilt(&mut self, found: &Meta) -> bool {
        let found_as = Ownership::of(found);
        let rebuilt = self.rebuilt.iter().copied().find(|rebuilt| found_as == Some(*rebuilt));
        if let Some(rebuilt) = rebuilt {
            // It may be behind what was confirmed: the repair reports what it lost.
            let ancestors = Lineage::default();
            *self = Self { ours: rebuilt, confirmed: *found, ancestors, rebuilt: Vec::new() };
        }
        rebuilt.is_some()
    }

    fn fenced(&self, found: &Meta, is_our_line: bool) -> Error {
        let Ownership { database, epoch, .. } = self.ours;
        let what = match found.database {
            Some(other) if other != database => format!(
                "another database is at this path (database {other}, ours is {database}): the file was replaced, or \
                 the directory belongs to another store now"
            ),
            _ if found.epoch > epoch => {
                format!("a newer owner opened the database (epoch {}, ours {epoch})", found.epoch)
            }
            _ if is_our_line => format!(
                "a restored copy of the database is at this path (epoch {}, ours {epoch}), and has not been opened yet",
                found.epoch
            ),
            _ => format!(
                "another owner opened a restored copy of the database (epoch {}, ours {epoch}, but its opening is not \
                 ours)",
                found.epoch
            ),
        };
        Error::new(
            ErrorKind::Fenced,
            format!(
                "fenced: {what}; this store can still read, but commits nothing any more. Close it, and open it again \
                 to take the database back"
            ),
        )
    }
}

fn behind(last_seq: Seq, confirmed: Seq) -> Error {
    Error::new(
        ErrorKind::Io,
        format!(
            "the database is at sequence number {last_seq}, but {confirmed} was already acknowledged as durable: an \
             older copy was put in its place, or the disk lost confirmed writes. Nothing is written to it; put the \
             right file back, or repair the database"
        ),
    )
}

#[cfg(test)]
mod tests {
    use shape_meta_core::{Counts, store_parts::Identity};

    use super::*;

    fn meta(database: Option<Identity>, opening: Option<Identity>, epoch: u64, seq: u64) -> Meta {
        Meta { last_seq: Seq::new(seq), counts: Counts::default(), epoch, database, opening }
    }

    #[test]
    fn c13_every_other_database_opening_or_epoch_is_refused() {
        let [ours, other, database, foreign] =
            [(); 4].map(|()| Some(Identity::random().expect("random bytes")));
        let mut opening =
            Opening::new(meta(database, ours, 2, 10), Lineage::default()).expect("it has identities");
        opening.check(&meta(database, ours, 2, 10)).expect("it is ours");
        let mut refusal = |found| opening.check(&found).expect_err("it is not ours");
        for (found, kind, text) in [
            (meta(foreign, ours, 2, 10), ErrorKind::Fenced, "another database"),
            (meta(foreign, other, 2, 3), ErrorKind::Fenced, "another database"),
            (meta(database, other, 3, 10), ErrorKind::Fenced, "a newer owner"),
            (meta(database, other, 2, 10), ErrorKind::Fenced, "a restored copy"),
            (meta(database, other, 1, 3), ErrorKind::Fenced, "a restored copy"),
            (meta(database, ours, 3, 10), ErrorKind::Fenced, "a newer owner"),
            (meta(None, None, 2, 10), ErrorKind::Fenced, "a restored copy"),
            (meta(None, None, 2, 9), ErrorKind::Io, "older copy"),
            (meta(database, ours, 2, 9), ErrorKind::Io, "older copy"),
        ] {
            let error = refusal(found);
            assert_eq!(error.kind(), kind, "{found:?}: {error}");
            assert!(error.to_string().contains(text), "{found:?}: {error}");
        }
    }
}
