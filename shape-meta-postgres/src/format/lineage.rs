//! The table `lineage`: the line of openings of a stack (C13), with the times at which they found its shapes.
//!
//! A standby that has seen the stack at one position, an opening and a sequence number, finds by it whether
//! the stack that it sees now continues that position.

use shape_meta_core::{
    Result, Seq, Timestamp,
    store_parts::{Identity, Openings, checksum},
};
use tokio_postgres::Row;

use crate::format::{row, stack_row::StackRow};

/// The number of openings that are kept. Shapes from before the oldest of them count as first seen by it.
pub(crate) const KEPT: i64 = 1_000;

/// One opening of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineageRow {
    pub(crate) epoch: u64,
    pub(crate) opening: Identity,
    /// The last sequence number that it found.
    pub(crate) began_at: Seq,
    pub(crate) opened: Timestamp,
}

impl LineageRow {
    /// The row of the opening that has just written `stack`.
    pub(crate) fn of(stack: &StackRow, opened: Timestamp) -> Self {
        let owner = stack.owner;
        Self { epoch: owner.epoch, opening: owner.opening, began_at: stack.last_seq, opened }
    }

    pub(crate) fn checksum(&self) -> i64 {
        let mut bytes =
            [self.began_at.get(), self.opened.as_micros()].map(u64::to_le_bytes).as_flattened().to_vec();
        bytes.extend_from_slice(self.opening.as_bytes());
        checksum::of(Seq::new(self.epoch), &bytes)
    }

    /// Decodes a row; `None` if it is damaged.
    fn decode(found: &Row) -> Result<Option<Self>> {
        let Some(opening) = Identity::from_bytes(row::bytes(found, 1)?) else { return Ok(None) };
        let decoded = Self {
            epoch: row::int8(found, 0)?.cast_unsigned(),
            opening,
            began_at: row::seq(row::int8(found, 2)?),
            opened: Timestamp::from_micros(row::int8(found, 3)?.cast_unsigned()),
        };
        Ok((row::int8(found, 4)? == decoded.checksum()).then_some(decoded))
    }
}

/// The openings of a stack, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage(Vec<LineageRow>);

impl Lineage {
    /// Decodes the rows, in the order of epochs. What is older than a damaged row is unknown.
    pub(crate) fn decode(rows: &[Row]) -> Result<Self> {
        let mut openings = Vec::with_capacity(rows.len());
        for found in rows {
            match LineageRow::decode(found)? {
                Some(opening) => openings.push(opening),
                None => openings.clear(),
            }
        }
        Ok(Self(openings))
    }

    /// Returns the line with one more opening.
    pub(crate) fn followed_by(&self, opening: LineageRow) -> Self {
        Self(self.0.iter().copied().chain([opening]).collect())
    }

    /// Returns whether `opening` is of the line.
    pub(crate) fn has(&self, opening: Identity) -> bool {
        self.0.iter().any(|row| row.opening == opening)
    }

    /// Returns whether a stack with this line, at `last_seq`, contains what `opening` had committed up to
    /// `seq`, and nothing else up to there: if a later opening began, it found all of it.
    pub(crate) fn contains(&self, opening: Identity, seq: Seq, last_seq: Seq) -> bool {
        let at = self.0.iter().position(|row| row.opening == opening);
        at.is_some_and(|at| seq <= self.0.get(at + 1).map_or(last_seq, |next| next.began_at))
    }

    /// Returns the openings with the times at which they found shapes.
    pub(crate) fn openings(&self) -> Openings {
        Openings::new(self.0.iter().map(|row| (row.began_at, row.opened)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_the_first_opening_that_found_a_shape_counts() {
        let row = |epoch, began_at, opened| LineageRow {
            epoch,
            opening: Identity::random().expect("random bytes"),
            began_at: Seq::new(began_at),
            opened: Timestamp::from_micros(opened),
        };
        let line = Lineage(vec![row(1, 0, 5), row(2, 7, 90), row(3, 7, 20), row(4, 9, 30)]);
        let expected = [(0, 5), (7, 20), (9, 30)];
        assert_eq!(
            line.openings().rows().collect::<Vec<_>>(),
            expected.map(|(through, at)| (Seq::new(through), Timestamp::from_micros(at)))
        );
        assert!(line.has(line.0[1].opening) && !Lineage::default().has(line.0[1].opening));
    }
}
