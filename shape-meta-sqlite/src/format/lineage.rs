//! The table `lineage`: the line of openings of a database (C13).
//!
//! A standby has seen the database at one position: an opening, and a sequence number that this opening had
//! committed. A copy that was put back, or another database, has a different line from some point on. There
//! the same sequence number stands for other mutations, and the standby must reload everything.

use rusqlite::{Connection, params};
use shape_meta_core::{
    Result, Seq,
    store_parts::{Identity, checksum},
};

use crate::{
    error::failed,
    format::{
        meta::{Meta, identity_column, identity_of},
        query::each,
        row, sql,
    },
};

/// The number of openings that are kept. A standby that has missed more of them reloads everything.
const KEPT: i64 = 1_000;

/// The openings of a database, oldest first, each with the last sequence number that it found.
#[derive(Debug, Default)]
pub(crate) struct Lineage(Vec<Row>);

/// One opening of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    epoch: u64,
    opening: Identity,
    /// The last sequence number that it found.
    began_at: Seq,
}

impl Lineage {
    /// Reads the line. A damaged row, and what is older, is unknown.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let mut openings = Vec::new();
        each(connection, sql::LINEAGE, [], |row| {
            match decode(row)? {
                Some(opening) => openings.push(opening),
                None => openings.clear(),
            }
            Ok(true)
        })?;
        Ok(Self(openings))
    }

    /// Records the opening of `meta`, in the transaction of the caller, which has just made it the owner. A
    /// row of this or a later epoch is damaged, and would end the line after this opening.
    pub(crate) fn record(connection: &Connection, meta: &Meta) -> Result<()> {
        let (epoch, began_at) = (meta.epoch.cast_signed(), meta.last_seq.get().cast_signed());
        let opening = identity_column(&meta.opening);
        connection
            .execute("DELETE FROM lineage WHERE epoch >= ?1", [epoch])
            .and_then(|_| connection.prepare_cached(sql::RECORD_LINEAGE))
            .and_then(|mut statement| {
                statement.execute(params![epoch, opening, began_at, checksum(epoch, opening, began_at)])
            })
            .and_then(|_| connection.prepare_cached(sql::TRIM_LINEAGE)?.execute([KEPT]))
            .map_err(failed("record the opening"))?;
        Ok(())
    }

    /// Empties the line, in the transaction of the caller: the database begins one of its own.
    pub(crate) fn clear(connection: &Connection) -> Result<()> {
        connection.execute("DELETE FROM lineage", []).map_err(failed("clear the line of openings"))?;
        Ok(())
    }

    /// Returns whether `opening` is of the line.
    pub(crate) fn has(&self, opening: Identity) -> bool {
        self.0.iter().any(|row| row.opening == opening)
    }

    /// Returns whether the database, which is at `last_seq`, contains what `opening` had committed up to
    /// `seq`.
    pub(crate) fn contains(&self, opening: Identity, seq: Seq, last_seq: Seq) -> bool {
        let Some(at) = self.0.iter().position(|row| row.opening == opening) else { return false };
        let end = self.0.get(at + 1).map_or(last_seq, |next| next.began_at);
        // What the opening found is of the line, too: a reader of an earlier opening may have seen it.
        seq <= end
    }

    /// Returns whether the line begins with the opening after `epoch`, and with all mutations up to `seq`.
    pub(crate) fn begins_after(&self, epoch: u64, seq: Seq) -> bool {
        self.0.first().is_some_and(|first| first.epoch == epoch + 1 && seq <= first.began_at)
    }
}

fn decode(row: &rusqlite::Row<'_>) -> Result<Option<Row>> {
    let (epoch, opening, began_at) = (row::integer(row, 0)?, row::bytes(row, 1)?, row::integer(row, 2)?);
    let is_sound = row::integer(row, 3)? == checksum(epoch, &opening, began_at) && began_at >= 0;
    let opening = identity_of(&opening).ok().flatten().filter(|_| is_sound);
    Ok(opening.map(|opening| Row { epoch: epoch.cast_unsigned(), opening, began_at: row::seq(began_at) }))
}

fn checksum(epoch: i64, opening: &[u8], began_at: i64) -> i64 {
    let mut bytes = began_at.to_le_bytes().to_vec();
    bytes.extend_from_slice(opening);
    checksum::of(Seq::new(epoch.cast_unsigned()), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::migrate;

    #[test]
    fn c13_a_position_is_of_the_line_only_within_its_opening() {
        let [first, second, other] = [(); 3].map(|()| Identity::random().expect("random bytes"));
        let row = |epoch, opening, began_at| Row { epoch, opening, began_at: Seq::new(began_at) };
        let line = Lineage(vec![row(3, first, 5), row(4, second, 10)]);
        let contains = |opening, seq| line.contains(opening, Seq::new(seq), Seq::new(15));
        assert_eq!([10, 11].map(|seq| contains(first, seq)), [true, false]);
        assert_eq!([10, 15, 16].map(|seq| contains(second, seq)), [true, true, false]);
        assert!(!contains(other, 0));
        let begins = |epoch, seq| line.begins_after(epoch, Seq::new(seq));
        assert_eq!([begins(2, 5), begins(2, 6), begins(1, 5), begins(3, 5)], [true, false, false, false]);
    }

    #[test]
    fn c11_an_opening_outlasts_a_flipped_bit_in_the_line() -> Result<()> {
        let mut connection = Connection::open_in_memory().map_err(failed("open"))?;
        migrate::migrate(&mut connection, migrate::STEPS)?;
        for bit in 0..63 {
            let latest = Meta::take_ownership(&connection)?.epoch.cast_signed();
            connection
                .execute(
                    "UPDATE OR REPLACE lineage SET epoch = ?2 WHERE epoch = ?1",
                    [latest, latest ^ 1 << bit],
                )
                .map_err(failed("damage a row"))?;
            let opening = Meta::take_ownership(&connection)?.opening.expect("it has an identity");
            assert!(Lineage::read(&connection)?.has(opening), "bit {bit}");
        }
        Ok(())
    }

    #[test]
    fn c13_the_line_is_bounded_and_a_damaged_row_ends_it() -> Result<()> {
        let mut connection = Connection::open_in_memory().map_err(failed("open"))?;
        migrate::migrate(&mut connection, migrate::STEPS)?;
        let mut openings = Vec::new();
        for _ in 0..KEPT + 5 {
            openings.extend(Meta::take_ownership(&connection)?.opening);
        }
        let kept = |line: &Lineage| line.0.iter().map(|row| row.opening).collect::<Vec<_>>();
        assert_eq!(kept(&Lineage::read(&connection)?), openings[5..]);
        connection
            .execute("UPDATE lineage SET began_at = 1 WHERE epoch = 100", [])
            .map_err(failed("damage a row"))?;
        assert_eq!(kept(&Lineage::read(&connection)?), openings[100..]);
        Ok(())
    }
}
