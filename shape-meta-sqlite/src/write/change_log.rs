//! What has changed since a place in the order, for those who follow: standbys.
//!
//! A batch leaves a row if it removed or marked shapes that had been there before it, or removed all. Adds
//! leave nothing: a shape's row id is the place of its add, so those after a place are a range of rows. A
//! recovery, which takes no place in the order, adds to the row of the last place; so whoever has come to a
//! place reads the row of that place once more, which does no harm (I6).
//!
//! The oldest row is the floor: nothing is known of what it did, nor of anything before. To drop rows is to
//! make a later one the floor.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, Row, params};
use shape_meta_core::{Delta, Entry, Result, Seq, SnapshotState, Timestamp};

use crate::{
    error::failed,
    format::{
        checksum,
        meta::Meta,
        query::{each, one},
        row, sql,
    },
    read::last_reads::Openings,
};

/// So many bytes are kept at least: some 250,000 removals and marks in large batches, or 50,000 that were
/// written one by one. A standby that is further behind reads everything again.
const KEPT: u64 = 1 << 20;
/// What a row takes besides its blob, about.
const ROW: u64 = 16;

/// The lowest bits of a number say what was done; the others to whom. A mark has the bits of its state.
const REMOVED: u64 = 4;
const RESET: u64 = 5;
const BITS: u32 = 3;

/// What one batch has to tell.
#[derive(Debug)]
pub(crate) struct LoggedChanges {
    /// The place in the order before the batch: nobody has seen shapes that were added after it.
    before: Seq,
    bytes: Vec<u8>,
    /// It did what cannot be told: followers must read everything.
    untold: bool,
}

impl LoggedChanges {
    pub(crate) fn since(before: Seq) -> Self {
        Self { before, bytes: Vec::new(), untold: false }
    }

    /// Ids are places in the order, so an add is after all that was there. It is not where a flush fell into
    /// several transactions to find the change that the store refuses.
    pub(crate) fn added(&mut self, id: Seq) {
        self.untold |= id <= self.before;
    }

    pub(crate) fn removed(&mut self, id: Seq) {
        self.tell(id, REMOVED);
    }

    pub(crate) fn marked(&mut self, id: Seq, state: SnapshotState) {
        self.tell(id, state.bits().into());
    }

    /// All that anybody has seen is gone. What this batch said before goes without saying.
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
        self.tell(self.before, RESET);
    }

    fn tell(&mut self, id: Seq, what: u64) {
        if id > self.before {
            return;
        }
        let mut number = id.get() << BITS | what;
        self.untold |= number >> BITS != id.get();
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// About how large the log is.
#[derive(Debug, Default)]
pub(crate) struct ChangeLogSize(AtomicU64);

impl ChangeLogSize {
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let size =
            one(connection, sql::CHANGE_LOG_SIZE, params![ROW.cast_signed()], |row| row::integer(row, 0))?;
        Ok(Self(AtomicU64::new(size.unwrap_or(0).cast_unsigned())))
    }

    fn add(&self, bytes: u64) -> u64 {
        self.0.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

/// Writes the row of a batch, if it has anything to tell, in the transaction of the batch. Drops the oldest
/// rows when there are twice as many as are kept.
pub(crate) fn append(
    connection: &Connection,
    through: Seq,
    changed: &LoggedChanges,
    size: &ChangeLogSize,
) -> Result<()> {
    if changed.bytes.is_empty() && !changed.untold {
        return Ok(());
    }
    let there = one(connection, sql::CHANGES_AT, [through.get().cast_signed()], sound_bytes)?;
    let mut bytes = match there {
        Some(Some(bytes)) if !changed.untold => bytes,
        None if !changed.untold => Vec::new(),
        _ => {
            connection.execute("DELETE FROM change_log", []).map_err(failed("empty the change log"))?;
            return write(connection, through, &[]);
        }
    };
    bytes.extend_from_slice(&changed.bytes);
    write(connection, through, &bytes)?;
    if size.add(changed.bytes.len() as u64 + ROW) > 2 * KEPT {
        trim(connection, size)?;
    }
    Ok(())
}

/// What a row says, if it is not damaged.
fn sound_bytes(row: &Row<'_>) -> Result<Option<Vec<u8>>> {
    let (through, bytes) = (row::seq(row::integer(row, 0)?), row::bytes(row, 1)?);
    let is_sound = row::integer(row, 2)? == checksum::of(through, &bytes);
    Ok(is_sound.then_some(bytes))
}

fn write(connection: &Connection, through: Seq, bytes: &[u8]) -> Result<()> {
    connection
        .prepare_cached(sql::SET_CHANGES_AT)
        .and_then(|mut statement| {
            statement.execute(params![through.get().cast_signed(), bytes, checksum::of(through, bytes)])
        })
        .map_err(failed("write the change log"))?;
    Ok(())
}

fn trim(connection: &Connection, size: &ChangeLogSize) -> Result<()> {
    let (mut kept, mut floor) = (0, 0);
    each(connection, sql::CHANGE_LOG_BACKWARDS, [], |row| {
        floor = row::integer(row, 0)?;
        kept += row::integer(row, 1)?.cast_unsigned() + ROW;
        Ok(kept <= KEPT)
    })?;
    connection
        .prepare_cached(sql::TRIM_CHANGE_LOG)
        .and_then(|mut statement| statement.execute([floor]))
        .map_err(failed("cut the change log back"))?;
    // If the transaction fails, this is too little, and the log is cut back a little later.
    size.0.store(kept, Ordering::Relaxed);
    Ok(())
}

/// What has changed since this place, asked in a read transaction that the caller has opened. `None` if it
/// is not known.
pub(crate) fn since(connection: &Connection, place: Seq) -> Result<Option<Delta>> {
    let meta = Meta::read(connection)?;
    let place_id = place.get().cast_signed();
    let floor = one(connection, sql::CHANGE_LOG_FLOOR, [], |row| row::integer(row, 0))?;
    // A store that is behind what was seen of it is another one.
    if meta.last_seq < place || floor.is_none_or(|floor| place_id <= floor) {
        return Ok(None);
    }
    let mut told = FoldedLog::default();
    let mut readable = true;
    each(connection, sql::CHANGES_FROM, [place_id], |row| {
        readable = sound_bytes(row)?.and_then(|bytes| told.read(&bytes)).is_some();
        Ok(readable)
    })?;
    if !readable {
        return Ok(None);
    }
    let openings = Openings::read(connection)?;
    let mut added: Vec<Arc<Entry>> = Vec::new();
    each(connection, sql::ADDED_SINCE, [place_id], |row| {
        let saved = row::integer(row, row::LAST_READ)?;
        let saved = (saved > 0).then(|| Timestamp::from_micros(saved.cast_unsigned()));
        added.push(Arc::new(row::entry(row, |id| saved.or_else(|| openings.last_read(id)))?));
        Ok(true)
    })?;
    Ok(Some(told.delta(added, meta)))
}

/// What the log says, one thing of each shape.
#[derive(Default)]
struct FoldedLog {
    reset: Option<Seq>,
    /// What was last told of each shape.
    shapes: BTreeMap<Seq, u64>,
}

impl FoldedLog {
    /// Reads one row; `None` if it cannot be read.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes.iter();
        while !bytes.as_slice().is_empty() {
            let mut number = 0;
            for shift in (0..u64::BITS).step_by(7) {
                let byte = *bytes.next()?;
                number |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            let (id, what) = (Seq::new(number >> BITS), number & ((1 << BITS) - 1));
            match what {
                RESET => {
                    self.reset = self.reset.max(Some(id));
                    self.shapes.retain(|shape, _| *shape > id);
                }
                REMOVED => {
                    self.shapes.insert(id, what);
                }
                state if state < REMOVED => {
                    let told = self.shapes.entry(id).or_insert(state);
                    if *told != REMOVED {
                        *told |= state;
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn delta(self, added: Vec<Arc<Entry>>, meta: Meta) -> Delta {
        let mut delta = Delta {
            reset: self.reset,
            added,
            counts: meta.counts,
            through: meta.last_seq,
            ..Delta::default()
        };
        for (id, what) in self.shapes {
            match what {
                REMOVED => delta.removed.push(id),
                state => delta.marked.push((id, SnapshotState::from_bits(state as u8))),
            }
        }
        delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::schema;

    fn log() -> rusqlite::Result<Connection> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(schema::V1)?;
        connection.execute_batch(schema::V2)?;
        connection.pragma_update(None, "user_version", 2)?;
        Ok(connection)
    }

    fn removals(before: u64, ids: impl IntoIterator<Item = u64>) -> LoggedChanges {
        let mut changed = LoggedChanges::since(Seq::new(before));
        ids.into_iter().for_each(|id| changed.removed(Seq::new(id)));
        changed
    }

    #[test]
    fn is_cut_back_to_what_is_promised() -> Result<()> {
        let connection = log().map_err(failed("make a log"))?;
        let size = ChangeLogSize::default();
        let kept = || {
            one(&connection, sql::CHANGE_LOG_SIZE, [ROW.cast_signed()], |row| row::integer(row, 0))
                .map(|kept| kept.unwrap_or(0).cast_unsigned())
        };
        let mut longest = 0;
        for through in 1..=100_u64 {
            // Numbers of four bytes, so some 48 KB.
            let changed = removals(4_000_000, (0..12_000).map(|id| 3_000_000 + id));
            append(&connection, Seq::new(through), &changed, &size)?;
            longest = longest.max(kept()?);
            assert_eq!(kept()? > KEPT, through > 21, "after {through}: {}", kept()?);
        }
        assert!((2 * KEPT - 100_000..=2 * KEPT).contains(&longest), "{longest}");
        assert_eq!(
            ChangeLogSize::read(&connection)?.0.into_inner(),
            size.0.into_inner(),
            "and that is known"
        );
        let mut meta = Meta::read(&connection)?;
        meta.last_seq = Seq::new(100);
        meta.write(&connection)?;
        assert!(since(&connection, Seq::new(100 - 20))?.is_some_and(|delta| delta.removed.len() == 12_000));
        assert!(since(&connection, Seq::new(1))?.is_none());
        Ok(())
    }

    #[test]
    fn reads_what_it_writes_and_no_more() {
        let numbers = [1, 15, 16, 127, 128, 1 << 32, (1 << 60) - 1];
        let changed = removals(u64::MAX, numbers);
        assert!(!changed.untold);
        let mut told = FoldedLog::default();
        told.read(&changed.bytes).expect("it is sound");
        assert!(told.shapes.keys().map(|id| id.get()).eq(numbers));
        assert!(removals(u64::MAX, [1 << 61]).untold, "rather than told of another one");
        for damaged in [&[0x80][..], &[0xff; 20], &[6], &[7]] {
            assert!(FoldedLog::default().read(damaged).is_none(), "{damaged:?}");
        }
    }
}
