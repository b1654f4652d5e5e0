//! The change log in SQLite: the changes since a sequence number, for standbys. `LoggedChanges` of
//! `shape_meta_core::store_parts` says what a row has.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, Row, params};
use shape_meta_core::{
    Delta, Entry, Result, Seq, Timestamp,
    store_parts::{FoldedLog, LoggedChanges, checksum},
};

use crate::{
    error::failed,
    format::{
        meta::Meta,
        query::{each, one},
        row, sql,
    },
    read::last_reads,
};

/// The minimum number of bytes that is kept: about 250,000 removals and marks of large batches, or 50,000
/// that were committed one by one. A standby that is further behind reloads everything.
const KEPT: u64 = 1 << 20;
/// The approximate size of a row without its blob.
const ROW: u64 = 16;

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
    let logged = logged.bytes();
    if logged.is_some_and(<[u8]>::is_empty) {
        return Ok(());
    }
    let existing = one(connection, sql::CHANGES_AT, [through.get().cast_signed()], verified_bytes)?;
    let (mut bytes, logged) = match (existing, logged) {
        (Some(Some(bytes)), Some(logged)) => (bytes, logged),
        (None, Some(logged)) => (Vec::new(), logged),
        _ => {
            connection.execute("DELETE FROM change_log", []).map_err(failed("clear the change log"))?;
            return write(connection, through, &[]);
        }
    };
    bytes.extend_from_slice(logged);
    write(connection, through, &bytes)?;
    if size.add(logged.len() as u64 + ROW) > 2 * KEPT {
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
///
/// `from` is the first row that is read: that of `seq`, to which a recovery may have appended, or the next
/// one.
pub(crate) fn since(connection: &Connection, seq: Seq, from: Seq) -> Result<Option<Delta>> {
    let meta = Meta::read(connection)?;
    let row_id = seq.get().cast_signed();
    let first = from.get().cast_signed();
    let floor = one(connection, sql::CHANGE_LOG_FLOOR, [], |row| row::integer(row, 0))?;
    // A database that is behind what the standby has read is another one.
    if meta.last_seq < seq || floor.is_none_or(|floor| first <= floor) {
        return Ok(None);
    }
    let mut folded = FoldedLog::default();
    let mut readable = true;
    each(connection, sql::CHANGES_FROM, [first], |row| {
        readable = verified_bytes(row)?.and_then(|bytes| folded.read(&bytes)).is_some();
        Ok(readable)
    })?;
    if !readable {
        return Ok(None);
    }
    let (openings, now) = (last_reads::openings(connection)?, Timestamp::now());
    let mut added: Vec<Arc<Entry>> = Vec::new();
    each(connection, sql::ADDED_SINCE, [row_id], |row| {
        let saved = row::integer(row, row::LAST_READ)?;
        let saved = (saved != 0).then(|| last_reads::stored_time(saved, now).at);
        added.push(Arc::new(row::entry(row, |id| saved.or_else(|| openings.last_read(id)))?));
        Ok(true)
    })?;
    Ok(Some(folded.into_delta(added, meta.counts, meta.last_seq)))
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
        assert!(
            since(&connection, Seq::new(100 - 20), Seq::new(100 - 20))?
                .is_some_and(|delta| delta.removed.len() == 12_000)
        );
        assert!(since(&connection, Seq::new(1), Seq::new(1))?.is_none());
        Ok(())
    }
}
