use std::sync::{Mutex, MutexGuard, PoisonError};

use shape_meta_core::{Error, ErrorKind, Result, Seq};

use crate::format::{
    lineage::Lineage,
    stack_row::{Ownership, StackRow},
};

/// How far a standby has read the history of a stack (C13). A sequence number alone means nothing: in a
/// database that was restored, the same number stands for other mutations.
#[derive(Debug)]
pub(crate) struct Position(Mutex<Shown>);

/// An opening, a sequence number that it had committed, and the openings up to it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    owner: Ownership,
    last_seq: Seq,
    lineage: Lineage,
}

/// What a state that is found is to one that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuation {
    /// It contains everything that was shown, and nothing else up to there.
    Same,
    /// It is an earlier state: of a standby server that is behind, or of a restored database that no process
    /// has opened since.
    Behind,
    /// It has another history.
    OtherLine,
}

impl Position {
    pub(crate) fn new(row: &StackRow, lineage: Lineage) -> Self {
        Self(Mutex::new(Shown { owner: row.owner, last_seq: row.last_seq, lineage }))
    }

    pub(crate) fn shown(&self) -> Shown {
        self.lock().clone()
    }

    /// Moves on to what was read, unless it is behind. Returns whether it continues what was shown.
    ///
    /// # Errors
    ///
    /// `Io` if it is behind: a standby never goes back.
    pub(crate) fn observe(&self, row: &StackRow, lineage: Lineage) -> Result<bool> {
        let mut shown = self.lock();
        let continuation = shown.continued_by(row, &lineage);
        if continuation == Continuation::Behind {
            return Err(shown.behind(row));
        }
        *shown = Shown { owner: row.owner, last_seq: row.last_seq, lineage };
        Ok(continuation == Continuation::Same)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    pub(crate) fn continued_by(&self, row: &StackRow, lineage: &Lineage) -> Continuation {
        if row.owner.database != self.owner.database {
            return Continuation::OtherLine;
        }
        if lineage.contains(self.owner.opening, self.last_seq, row.last_seq) {
            return Continuation::Same;
        }
        let is_earlier = self.lineage.has(row.owner.opening) && row.last_seq <= self.last_seq;
        if is_earlier { Continuation::Behind } else { Continuation::OtherLine }
    }

    /// Returns an error unless what a new connection shows continues this.
    pub(crate) fn check_reader(&self, row: &StackRow, lineage: &Lineage) -> Result<()> {
        match self.continued_by(row, lineage) {
            Continuation::Same => Ok(()),
            Continuation::Behind => Err(self.behind(row)),
            Continuation::OtherLine => Err(Error::new(
                ErrorKind::Io,
                "the stack has another history than the one that was read: the database was restored, or the stack \
                 was made anew. Memory shows what it was; the next refresh reads everything again",
            )),
        }
    }

    fn behind(&self, row: &StackRow) -> Error {
        Error::new(
            ErrorKind::Io,
            format!(
                "the server shows the stack at sequence number {}, and {} was shown already: it is a standby server \
                 that is behind, or was restored. Nothing has changed; it can be tried again when it has caught up, \
                 or an owner has opened the stack",
                row.last_seq, self.last_seq
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use shape_meta_core::{Counts, Timestamp, store_parts::Identity};

    use super::*;
    use crate::format::lineage::LineageRow;

    #[test]
    fn c13_a_standby_never_goes_back_and_notices_another_line() {
        let [database, foreign, a, b, c] = [(); 5].map(|()| Identity::random().expect("random bytes"));
        let row = |database, opening, epoch, last_seq| StackRow {
            id: 1,
            last_seq: Seq::new(last_seq),
            counts: Counts::default(),
            owner: Ownership { database, opening, epoch },
            has_lookups: true,
        };
        let line = |openings: &[(Identity, u64, u64)]| {
            openings.iter().fold(Lineage::default(), |line, (opening, epoch, began_at)| {
                let began_at = Seq::new(*began_at);
                let opened = Timestamp::from_micros(1);
                line.followed_by(LineageRow { epoch: *epoch, opening: *opening, began_at, opened })
            })
        };
        let shown = Position::new(&row(database, b, 2, 10), line(&[(a, 1, 0), (b, 2, 5)])).shown();
        let both = [(a, 1, 0), (b, 2, 5)];
        for (found, openings, expected) in [
            (row(database, b, 2, 10), &both[..], Continuation::Same),
            (row(database, b, 2, 11), &both, Continuation::Same),
            (row(database, b, 2, 9), &both, Continuation::Behind),
            (row(database, a, 1, 5), &both[..1], Continuation::Behind),
            (row(database, c, 3, 12), &[(a, 1, 0), (b, 2, 5), (c, 3, 10)], Continuation::Same),
            (row(database, c, 3, 12), &[(a, 1, 0), (b, 2, 5), (c, 3, 9)], Continuation::OtherLine),
            (row(database, c, 2, 12), &[(a, 1, 0), (c, 2, 5)], Continuation::OtherLine),
            (row(database, a, 1, 12), &both[..1], Continuation::OtherLine),
            (row(foreign, b, 2, 10), &both, Continuation::OtherLine),
        ] {
            assert_eq!(shown.continued_by(&found, &line(openings)), expected, "{found:?}");
        }
    }
}
