use std::{collections::HashMap, sync::Arc};

use shape_meta_core::{Entry, Result, Seq, Timestamp};

use crate::{PostgresStore, connection::operation::Operation, format::row, read::snapshot::Snapshot};

/// A function that begins a snapshot.
pub(crate) type Begin<'s> = fn(&'s PostgresStore, Operation, &'static str) -> Result<Snapshot<'s>>;

impl PostgresStore {
    /// Passes all entries to `each`, in the order of creation, and returns the sequence number.
    pub(crate) fn load_all(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.load_at(each, Snapshot::begin, |_| Ok(()))
    }

    /// The same, of a snapshot that `begin` returns and `observe` looks at first.
    pub(crate) fn load_at<'s>(
        &'s self,
        each: &mut dyn FnMut(Arc<Entry>),
        begin: Begin<'s>,
        observe: impl FnOnce(&mut Snapshot<'_>) -> Result<()>,
    ) -> Result<Seq> {
        let (mut snapshot, last_reads) = self.recency.read_consistently(|removed| {
            let snapshot = begin(self, Operation::Load, "load the shapes")?;
            Ok((snapshot, self.recency.snapshot(removed)))
        })?;
        observe(&mut snapshot)?;
        let saved = saved_reads(self, &mut snapshot, 0)?;
        snapshot.pages(&self.stack.statements.shapes_after, 0, |found| {
            let last_read = |id| last_reads.last_read_since(id, saved.get(&id).copied());
            each(Arc::new(row::entry(found, last_read)?));
            Ok(())
        })?;
        Ok(snapshot.row.last_seq)
    }
}

/// Returns the saved last-read times of shapes after this id. One that is later than now comes from a clock
/// that was ahead, and counts as now.
pub(super) fn saved_reads(
    store: &PostgresStore,
    snapshot: &mut Snapshot<'_>,
    after: i64,
) -> Result<HashMap<Seq, Timestamp>> {
    let now = Timestamp::now();
    let mut saved = HashMap::new();
    snapshot.pages(&store.stack.statements.reads_after, after, |found| {
        let at = Timestamp::from_micros(row::int8(found, 1)?.cast_unsigned());
        saved.insert(row::seq(row::int8(found, 0)?), at.min(now));
        Ok(())
    })?;
    Ok(saved)
}
