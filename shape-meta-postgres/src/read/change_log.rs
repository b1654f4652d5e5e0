use std::sync::Arc;

use shape_meta_core::{
    ChangeLog, Delta, Result, Seq,
    store_parts::{FoldedLog, checksum},
};

use crate::{
    PostgresStore,
    connection::operation::Operation,
    format::{lineage::Lineage, row},
    read::{
        load::{Begin, saved_reads},
        snapshot::{Param, Snapshot},
    },
};

impl ChangeLog for PostgresStore {
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.since_at(seq, Snapshot::begin, |_| Ok(true))
    }
}

impl PostgresStore {
    /// Returns the changes after `seq`, of a snapshot that `begin` returns. `None` also if `observe`, which
    /// looks at it first, says that the number is of another line.
    pub(crate) fn since_at<'s>(
        &'s self,
        seq: Seq,
        begin: Begin<'s>,
        observe: impl FnOnce(&mut Snapshot<'_>) -> Result<bool>,
    ) -> Result<Option<Delta>> {
        let mut snapshot = begin(self, Operation::ChangesSince, "read the change log")?;
        if !observe(&mut snapshot)? {
            return Ok(None);
        }
        let statements = &self.stack.statements;
        let number = snapshot.row.id;
        let stack = || -> Param { Box::new(number) };
        let Ok(after) = i64::try_from(seq.get()) else { return Ok(None) };
        let floor = snapshot.query(&statements.change_log_floor, vec![stack()])?;
        let floor = floor.first().map(|found| row::int8(found, 0)).transpose()?;
        // A stack that is behind what the reader has seen is another one.
        if snapshot.row.last_seq < seq || floor.is_none_or(|floor| after <= floor) {
            return Ok(None);
        }
        let mut folded = FoldedLog::default();
        for found in snapshot.query(&statements.changes_from, vec![stack(), Box::new(after)])? {
            let (through, bytes) = (row::seq(row::int8(&found, 0)?), row::bytes(&found, 1)?);
            let is_sound = row::int8(&found, 2)? == checksum::of(through, bytes);
            if !is_sound || folded.read(bytes).is_none() {
                return Ok(None);
            }
        }
        // Another process may have opened the stack with these shapes, and saved their last-read times.
        let lineage = Lineage::decode(&snapshot.query(&statements.lineage, vec![stack()])?)?;
        let openings = lineage.openings();
        let saved = saved_reads(self, &mut snapshot, after)?;
        let mut added = Vec::new();
        snapshot.pages(&statements.shapes_after, after, |found| {
            added.push(Arc::new(row::entry(found, |id| {
                saved.get(&id).copied().or_else(|| openings.last_read(id))
            })?));
            Ok(())
        })?;
        let stack = snapshot.row;
        Ok(Some(folded.into_delta(added, stack.counts, stack.last_seq)))
    }
}
