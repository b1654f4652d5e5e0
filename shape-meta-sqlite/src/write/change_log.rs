//! The change log: the changes since a sequence number, for standbys.
//!
//! A batch writes a row if it removed or marked shapes that existed before it, or reset the store. Adds are
//! not logged: a shape's row id is the sequence number of its add, so the adds after a sequence number are a
//! range of rows. A recovery takes no sequence number, and appends to the row of the last one. So a standby
//! reads the row of its own sequence number again, which is idempotent (I6).
//!
//! The oldest row is the floor: its changes, and those before it, are unknown. Trimming the log makes a later
//! row the floor.

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
    read::last_reads::{Openings, StoredTime},
};

/// The minimum number of bytes that is kept: about 250,000 removals and marks of large batches, or 50,000
/// that were committed one by one. A standby that is further behind reloads everything.
const KEPT: u64 = 1 << 20;
/// The approximate size of a row without its blob.
const ROW: u64 = 16;

/// A logged change is one number: the lowest bits are the kind, the others the id of the shape. The kind of a
/// mark is the bits of its state.
const REMOVED: u64 = 4;
const RESET: u64 = 5;
const KIND_BITS: u32 = 3;

/// The row of the change log that one batch writes.
#[derive(Debug)]
pub(crate) struct LoggedChanges {
    /// The sequence number before the batch. No standby has seen shapes that were added after it.
    before: Seq,
    bytes: Vec<u8>,
    /// The batch cannot be logged: standbys must reload everything.
    needs_full_reload: bool,
}

impl LoggedChanges {
    /// Begins the row of a batch on a database at sequence number `before`.
    pub(crate) fn since(before: Seq) -> Self {
        Self { before, bytes: Vec::new(), needs_full_reload: false }
    }

    /// Logs nothing for an add after `before`. An add can have an earlier id when a flush was split into
    /// several transactions to isolate a rejected change; that cannot be logged.
    pub(crate) fn added(&mut self, id: Seq) {
        self.needs_full_reload |= id <= self.before;
    }

    pub(crate) fn removed(&mut self, id: Seq) {
        self.log(id, REMOVED);
    }

    pub(crate) fn marked(&mut self, id: Seq, state: SnapshotState) {
        self.log(id, state.bits().into());
    }

    /// Replaces what the batch has logged so far: all shapes that a standby can know are gone.
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
        self.log(self.before, RESET);
    }

    /// Appends a change as a variable-length integer. Skips shapes that no standby knows.
    fn log(&mut self, id: Seq, kind: u64) {
        if id > self.before {
            return;
        }
        let mut number = id.get() << KIND_BITS | kind;
        self.needs_full_reload |= number >> KIND_BITS != id.get();
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// The approximate size of the log in bytes.
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

/// Writes the row of a batch, if it logged anything, in the transaction of the batch. Trims the log when it
/// is twice as large as the part that is kept.
pub(crate) fn append(
    connection: &Connection,
    through: Seq,
    logged: &LoggedChanges,
    size: &ChangeLogSize,
) -> Result<()> {
    if logged.bytes.is_empty() && !logged.needs_full_reload {
        return Ok(());
    }
    let existing = one(connection, sql::CHANGES_AT, [through.get().cast_signed()], verified_bytes)?;
    let mut bytes = match existing {
        Some(Some(bytes)) if !logged.needs_full_reload => bytes,
        None if !logged.needs_full_reload => Vec::new(),
        _ => {
            connection.execute("DELETE FROM change_log", []).map_err(failed("clear the change log"))?;
            return write(connection, through, &[]);
        }
    };
    bytes.extend_from_slice(&logged.bytes);
    write(connection, through, &bytes)?;
    if size.add(logged.bytes.len() as u64 + ROW) > 2 * KEPT {
        trim(connection, size)?;
    }
    Ok(())
}

/// Returns the blob of a row; `None` if it does not match its checksum.
fn verified_bytes(row: &Row<'_>) -> Result<Option<Vec<u8>>> {
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
        .map_err(failed("trim the change log"))?;
    // If the transaction fails, this is too low, and the log is trimmed a little later.
    size.0.store(kept, Ordering::Relaxed);
    Ok(())
}

/// Returns the changes after `seq`; `None` if they are unknown. The caller has opened a read transaction.
pub(crate) fn since(connection: &Connection, seq: Seq) -> Result<Option<Delta>> {
    let meta = Meta::read(connection)?;
    let row_id = seq.get().cast_signed();
    let floor = one(connection, sql::CHANGE_LOG_FLOOR, [], |row| row::integer(row, 0))?;
    // A database that is behind what the standby has read is another one.
    if meta.last_seq < seq || floor.is_none_or(|floor| row_id <= floor) {
        return Ok(None);
    }
    let mut folded = FoldedLog::default();
    let mut readable = true;
    each(connection, sql::CHANGES_FROM, [row_id], |row| {
        readable = verified_bytes(row)?.and_then(|bytes| folded.read(&bytes)).is_some();
        Ok(readable)
    })?;
    if !readable {
        return Ok(None);
    }
    let (openings, now) = (Openings::read(connection)?, Timestamp::now());
    let mut added: Vec<Arc<Entry>> = Vec::new();
    each(connection, sql::ADDED_SINCE, [row_id], |row| {
        let saved = row::integer(row, row::LAST_READ)?;
        let saved = (saved != 0).then(|| StoredTime::new(saved, now).at);
        added.push(Arc::new(row::entry(row, |id| saved.or_else(|| openings.last_read(id)))?));
        Ok(true)
    })?;
    Ok(Some(folded.into_delta(added, meta)))
}

/// The rows of the log, reduced to one change for each shape.
#[derive(Default)]
struct FoldedLog {
    reset: Option<Seq>,
    /// The kind of the change of each shape.
    shapes: BTreeMap<Seq, u64>,
}

impl FoldedLog {
    /// Adds one row. Returns `None` if it cannot be decoded.
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
            let (id, kind) = (Seq::new(number >> KIND_BITS), number & ((1 << KIND_BITS) - 1));
            match kind {
                RESET => {
                    self.reset = self.reset.max(Some(id));
                    self.shapes.retain(|shape, _| *shape > id);
                }
                REMOVED => {
                    self.shapes.insert(id, kind);
                }
                state if state < REMOVED => {
                    let logged = self.shapes.entry(id).or_insert(state);
                    if *logged != REMOVED {
                        *logged |= state;
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn into_delta(self, added: Vec<Arc<Entry>>, meta: Meta) -> Delta {
        let mut delta = Delta {
            reset: self.reset,
            added,
            counts: meta.counts,
            through: meta.last_seq,
            ..Delta::default()
        };
        for (id, kind) in self.shapes {
            match kind {
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
    use crate::format::migrate;

    fn log() -> Result<Connection> {
        let mut connection = Connection::open_in_memory().map_err(failed("open a database in memory"))?;
        migrate::migrate(&mut connection, migrate::STEPS)?;
        Ok(connection)
    }

    fn removals(before: u64, ids: impl IntoIterator<Item = u64>) -> LoggedChanges {
        let mut changed = LoggedChanges::since(Seq::new(before));
        ids.into_iter().for_each(|id| changed.removed(Seq::new(id)));
        changed
    }

    #[test]
    fn is_trimmed_to_what_is_kept() -> Result<()> {
        let connection = log()?;
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
            "the size is tracked"
        );
        let mut meta = Meta::read(&connection)?;
        meta.last_seq = Seq::new(100);
        meta.write(&connection)?;
        assert!(since(&connection, Seq::new(100 - 20))?.is_some_and(|delta| delta.removed.len() == 12_000));
        assert!(since(&connection, Seq::new(1))?.is_none());
        Ok(())
    }

    #[test]
    fn a_row_is_decoded_as_it_was_encoded() {
        let numbers = [1, 15, 16, 127, 128, 1 << 32, (1 << 60) - 1];
        let changed = removals(u64::MAX, numbers);
        assert!(!changed.needs_full_reload);
        let mut folded = FoldedLog::default();
        folded.read(&changed.bytes).expect("it is sound");
        assert!(folded.shapes.keys().map(|id| id.get()).eq(numbers));
        assert!(
            removals(u64::MAX, [1 << 61]).needs_full_reload,
            "an id that does not fit is not logged as another one"
        );
        for damaged in [&[0x80][..], &[0xff; 20], &[6], &[7]] {
            assert!(FoldedLog::default().read(damaged).is_none(), "{damaged:?}");
        }
    }
}
