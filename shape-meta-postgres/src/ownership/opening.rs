use std::sync::{Mutex, MutexGuard, PoisonError};

use shape_meta_core::{Error, ErrorKind, Result, Seq};

use crate::format::{
    lineage::Lineage,
    stack_row::{Ownership, StackRow},
};

/// What a store knows about its own opening of the stack, to recognise it in the row of the stack (C11, C13).
///
/// An epoch orders the openings of one stack. It repeats in a restored copy, so it is never enough. The
/// checks run:
///
/// - [`check`](Self::check) in every transaction that writes, on the row that the transaction has locked, and
///   again in the condition of its last statement;
/// - [`check_reader`](Self::check_reader) whenever this store uses a connection for the first time: a server
///   that was restored, or replaced by a standby server that was behind, has no old connections.
#[derive(Debug)]
pub(crate) struct Opening {
    ours: Ownership,
    /// The openings before ours, of which a copy may be put back.
    ancestors: Lineage,
    confirmed: Mutex<Confirmed>,
}

/// The state that was confirmed to the caller. No sound state is behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed {
    last_seq: Seq,
    /// The number of live shapes. A recovery takes no sequence number, so only their number shows that it was
    /// lost: the shapes that it has removed are there again.
    total: u64,
}

impl Confirmed {
    fn of(row: &StackRow) -> Self {
        Self { last_seq: row.last_seq, total: row.counts.total }
    }

    /// Whether a state of the same opening is behind this one. A recovery whose answer was lost is ahead.
    fn is_after(self, found: &StackRow) -> bool {
        found.last_seq < self.last_seq || found.last_seq == self.last_seq && found.counts.total > self.total
    }
}

impl Opening {
    /// Returns the opening that has just written `stack`.
    pub(crate) fn new(stack: &StackRow, ancestors: Lineage) -> Self {
        Self { ours: stack.owner, ancestors, confirmed: Mutex::new(Confirmed::of(stack)) }
    }

    pub(crate) fn ours(&self) -> Ownership {
        self.ours
    }

    /// Records that a commit up to this sequence number, which left this many shapes, was confirmed to the
    /// caller.
    pub(crate) fn confirm(&self, last_seq: Seq, total: u64) {
        let mut confirmed = self.lock();
        if last_seq >= confirmed.last_seq {
            *confirmed = Confirmed { last_seq, total };
        }
    }

    /// Returns an error unless the stack is ours, and is not behind what was confirmed.
    ///
    /// # Errors
    ///
    /// `Fenced` if another opening owns it, or if it is another stack. `Io` if an older state of our own line
    /// is in its place, which no other opening owns.
    pub(crate) fn check(&self, found: Option<&StackRow>) -> Result<()> {
        self.check_from(found, self.confirmed())
    }

    fn check_from(&self, found: Option<&StackRow>, confirmed: Confirmed) -> Result<()> {
        let Some(found) = found else {
            return Err(fenced("the stack was dropped"));
        };
        if self.is_older_state(found, confirmed) {
            return Err(behind(found, confirmed));
        }
        if found.owner == self.ours {
            return Ok(());
        }
        let (epoch, ours) = (found.owner.epoch, self.ours.epoch);
        Err(fenced(&if found.owner.database != self.ours.database {
            format!(
                "another stack has its name or number (identity {}, ours {})",
                found.owner.database, self.ours.database
            )
        } else if epoch > ours {
            format!("a newer owner opened the stack (epoch {epoch}, ours {ours})")
        } else {
            format!(
                "the database was restored to a state in which we did not own the stack (epoch {epoch}, ours {ours})"
            )
        }))
    }

    /// Returns what was confirmed to the caller.
    pub(crate) fn confirmed(&self) -> Confirmed {
        *self.lock()
    }

    /// Returns an error if what a new connection shows is not what this store had confirmed before it was
    /// read, or a continuation of it. A fenced store can still read.
    ///
    /// # Errors
    ///
    /// `Io` if an older state is in its place, `Fenced` if it is another stack.
    pub(crate) fn check_reader(&self, found: Option<&StackRow>, confirmed: Confirmed) -> Result<()> {
        match found {
            Some(row) if row.owner.database == self.ours.database && !self.is_older_state(row, confirmed) => {
                let is_continued = row.owner == self.ours || row.owner.epoch > self.ours.epoch;
                if is_continued { Ok(()) } else { self.check_from(found, confirmed) }
            }
            _ => self.check_from(found, confirmed),
        }
    }

    fn is_older_state(&self, found: &StackRow, confirmed: Confirmed) -> bool {
        if found.owner == self.ours {
            return confirmed.is_after(found);
        }
        let is_our_line =
            found.owner.database == self.ours.database && self.ancestors.has(found.owner.opening);
        is_our_line && found.last_seq < confirmed.last_seq
    }

    fn lock(&self) -> MutexGuard<'_, Confirmed> {
        // No code that can panic runs under this lock.
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fenced(what: &str) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!(
            "fenced: {what}; this store commits nothing any more. Close it, and open it again to take the stack back"
        ),
    )
}

/// Returns the error of a batch whose last statement changed no row, although the row was locked.
pub(crate) fn not_ours_any_more() -> Error {
    fenced("the row of the stack is not ours any more")
}

fn behind(found: &StackRow, confirmed: Confirmed) -> Error {
    let (last_seq, total) = (found.last_seq, found.counts.total);
    let what = if last_seq < confirmed.last_seq {
        format!(
            "the stack is at sequence number {last_seq}, but {} was already acknowledged as durable",
            confirmed.last_seq
        )
    } else {
        format!(
            "the stack has {total} shapes at sequence number {last_seq}, but its recovery was acknowledged, which \
             had left {}",
            confirmed.total
        )
    };
    Error::new(
        ErrorKind::Io,
        format!(
            "{what}: the database was restored, or a standby server that was behind has replaced it. Nothing is \
             written to it; bring the right server back, or open the stack again to go on with what is left"
        ),
    )
}

#[cfg(test)]
mod tests {
    use shape_meta_core::{Counts, store_parts::Identity};

    use super::*;

    fn row(database: Identity, opening: Identity, epoch: u64, last_seq: u64) -> StackRow {
        StackRow {
            id: 1,
            last_seq: Seq::new(last_seq),
            counts: Counts { total: 4, indexed: 0 },
            owner: Ownership { database, opening, epoch },
            has_lookups: true,
        }
    }

    #[test]
    fn c2_c13_a_recovery_that_was_lost_is_noticed() {
        let [ours, database] = [(); 2].map(|()| Identity::random().expect("random bytes"));
        let found = row(database, ours, 2, 5);
        let opening = Opening::new(&found, Lineage::default());
        let with = |last_seq, total| StackRow {
            counts: Counts { total, indexed: 0 },
            ..row(database, ours, 2, last_seq)
        };
        assert!(opening.check(Some(&with(5, 3))).is_ok(), "the answer of a recovery was lost");
        opening.confirm(Seq::new(5), 3);
        assert!(opening.check(Some(&with(5, 3))).is_ok());
        for error in [opening.check(Some(&found)), opening.check_reader(Some(&found), opening.confirmed())] {
            let error = error.expect_err("the removed shape is there again");
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(error.to_string().contains("4 shapes at sequence number 5"), "{error}");
        }
        opening.confirm(Seq::new(6), 8);
        opening.confirm(Seq::new(4), 1);
        assert!(opening.check(Some(&with(6, 8))).is_ok(), "a batch adds shapes");
    }

    #[test]
    fn c13_every_other_stack_opening_or_epoch_is_refused() {
        let [ours, other, database, foreign] = [(); 4].map(|()| Identity::random().expect("random bytes"));
        let opening = Opening::new(&row(database, ours, 2, 5), Lineage::default());
        opening.confirm(Seq::new(10), 4);
        opening.confirm(Seq::new(7), 4);
        assert!(opening.check(Some(&row(database, ours, 2, 10))).is_ok());
        let (io, fenced) = (ErrorKind::Io, ErrorKind::Fenced);
        for (found, kind, reader, text) in [
            (Some(row(foreign, ours, 2, 10)), fenced, Some(fenced), "another stack"),
            (Some(row(database, other, 3, 10)), fenced, None, "a newer owner"),
            (Some(row(database, ours, 3, 10)), fenced, None, "a newer owner"),
            (Some(row(database, other, 2, 10)), fenced, Some(fenced), "restored"),
            (Some(row(database, other, 1, 3)), fenced, Some(fenced), "restored"),
            (Some(row(database, ours, 2, 9)), io, Some(io), "sequence number 9"),
            (None, fenced, Some(fenced), "dropped"),
        ] {
            let error = opening.check(found.as_ref()).expect_err("it is not ours");
            assert_eq!(error.kind(), kind, "{found:?}: {error}");
            assert!(error.to_string().contains(text), "{found:?}: {error}");
            let read =
                opening.check_reader(found.as_ref(), opening.confirmed()).err().map(|error| error.kind());
            assert_eq!(read, reader, "{found:?}");
        }
    }
}
