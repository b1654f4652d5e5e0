use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shape_meta_core::{
    Entry, Record, Rekey, Result, Seq, Stamp, StampCheck, StampOutcome, Timestamp,
    store_parts::{Openings, RekeyPass},
};

use crate::{
    SqliteOptions,
    error::failed,
    format::{
        block::BlockReader,
        meta::Meta,
        query::{each, one},
        row, sql,
        stamp::{Rekeying, StampRow},
    },
    ownership::opening::Opening,
    read::last_reads,
    write::{
        batch::BatchWriter,
        change_log::{self, ChangeLogSize},
    },
};

/// The bounds of one transaction: a crash repeats at most this much, and memory holds it.
const SHAPES: usize = 5_000;
const BYTES: usize = 8 << 20;
const DOING: &str = "re-key the shapes";

/// One pass over all shapes, which gives each the definition that the application has for it now.
///
/// It goes in the order of creation, which the new shapes keep. So the shapes that are left are always those
/// up to the sequence number at which it began, and a crash costs the transaction in progress.
pub(super) struct Pass<'a> {
    decisions: RekeyPass<'a>,
    next: Stamp,
    /// `None` until the first transaction has recorded where the pass began.
    through: Option<Seq>,
    options: &'a SqliteOptions,
}

impl<'a> Pass<'a> {
    /// Begins a pass, or goes on with one that was interrupted.
    pub(super) fn new(
        row: StampRow,
        rekey: &'a Rekey,
        check: &StampCheck,
        options: &'a SqliteOptions,
    ) -> Self {
        Self {
            decisions: RekeyPass::new(row.stamp, rekey),
            next: check.stamp().clone(),
            through: row.rekey.map(|begun| begun.through),
            options,
        }
    }

    pub(super) fn run(mut self, connection: &mut Connection, opening: &mut Opening) -> Result<StampOutcome> {
        let size = ChangeLogSize::read(connection)?;
        let openings = last_reads::openings(connection)?;
        if let Some(through) = self.through {
            each(connection, sql::LOAD, [], |found| {
                let entry = row::entry(found, |_| None)?;
                if entry.created() > through {
                    self.decisions.add_key(*entry.key());
                }
                Ok(true)
            })?;
        }
        loop {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed(DOING))?;
            let mut meta = Meta::read(&transaction)?;
            opening.check(&meta)?;
            let through = *self.through.get_or_insert(meta.last_seq);
            let is_last = self.step(&transaction, &mut meta, through, &openings, &size)?;
            let row = match is_last {
                true => StampRow { stamp: self.next.clone(), rekey: None },
                false => {
                    let rekey = Some(Rekeying { through, next: self.next.clone() });
                    StampRow { stamp: self.decisions.found().clone(), rekey }
                }
            };
            row.write(&transaction)?;
            transaction.commit().map_err(failed(DOING))?;
            opening.confirm(meta.last_seq);
            if is_last {
                return Ok(self.decisions.into_outcome());
            }
        }
    }

    /// Re-keys the oldest shapes that are left. Returns whether these were all.
    fn step(
        &mut self,
        transaction: &Transaction<'_>,
        meta: &mut Meta,
        through: Seq,
        openings: &Openings,
        size: &ChangeLogSize,
    ) -> Result<bool> {
        let (records, is_last) = oldest(transaction, through)?;
        let mut writer = BatchWriter::new(transaction, self.options.disk_indexes, meta)?
            .with_cleanup_tasks(self.options.cleanup_tasks);
        let mut last_reads = Vec::new();
        for old in &records {
            let entry = &*old.entry;
            let created = Seq::new(meta.last_seq.get() + 1);
            let Some(new) = self.decisions.replacement(old, created)? else {
                writer.remove(entry)?;
                continue;
            };
            meta.last_seq = created;
            // A shape without a saved time counts as read at the opening that found it first.
            if let Some(at) = saved_read(transaction, entry)?.or_else(|| openings.last_read(entry.created()))
            {
                last_reads.push((meta.last_seq, at));
            }
            writer.replace(entry, &new, entry.state())?;
        }
        let logged;
        (meta.counts, logged) = writer.finish()?;
        last_reads::save(transaction, &last_reads)?;
        change_log::append(transaction, meta.last_seq, &logged, size)?;
        meta.write(transaction)?;
        Ok(is_last)
    }
}

/// Returns the oldest shapes up to this one, and whether these are all of them.
fn oldest(connection: &Connection, through: Seq) -> Result<(Vec<Record>, bool)> {
    let (mut records, mut bytes, mut is_last) = (Vec::new(), 0, true);
    let mut blocks = BlockReader::default();
    each(connection, sql::SCAN, [0], |found| {
        let entry = Arc::new(row::entry(found, |_| None)?);
        if entry.created() > through {
            return Ok(false);
        }
        if records.len() >= SHAPES || bytes >= BYTES {
            is_last = false;
            return Ok(false);
        }
        let record = row::record(found, row::DEFINITION, entry, &mut blocks)?;
        bytes += record.memory();
        records.push(record);
        Ok(true)
    })?;
    Ok((records, is_last))
}

fn saved_read(connection: &Connection, entry: &Entry) -> Result<Option<Timestamp>> {
    let now = Timestamp::now();
    one(connection, sql::LAST_READ_OF, [entry.created().get().cast_signed()], |found| {
        Ok(last_reads::stored_time(row::integer(found, 0)?, now).at)
    })
}
