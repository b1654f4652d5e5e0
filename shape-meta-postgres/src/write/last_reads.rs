use std::sync::Arc;

use shape_meta_core::{LastReadStore, Result, Seq, SweepProgress, Timestamp};
use tokio_postgres::types::ToSql;

use crate::{
    PostgresStore,
    connection::{client::CommitError, operation::Operation},
    format::row,
    read::snapshot::Snapshot,
};

impl LastReadStore for PostgresStore {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        let now = Timestamp::now();
        let fits = |(id, at): &(Seq, Timestamp)| {
            // No time is stored that is later than now. A shape has one time in a statement.
            Some((i64::try_from(id.get()).ok()?, (*at).min(now).as_micros().cast_signed()))
        };
        let mut reads: Vec<_> = reads.iter().filter_map(fits).collect();
        reads.sort_unstable();
        reads.reverse();
        reads.dedup_by_key(|(id, _)| *id);
        reads.reverse();
        if reads.is_empty() {
            return Ok(());
        }
        let (ids, times): (Vec<i64>, Vec<i64>) = reads.into_iter().unzip();
        let now = now.as_micros().cast_signed();
        self.write(Operation::SaveReads, "save the last reads", move |mut transaction| async move {
            let stack = Arc::clone(transaction.stack());
            let params: [&(dyn ToSql + Sync); 4] = [&stack.number, &ids, &times, &now];
            let client = transaction.client()?;
            client.execute("save the last reads", &stack.statements.save_reads, &params).await?;
            transaction.commit().await.map_err(CommitError::into_error)
        })
    }

    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        let now = Timestamp::now();
        let mut snapshot = Snapshot::begin(self, Operation::SavedReads, "read the last reads")?;
        snapshot.pages(&self.stack.statements.reads_after, 0, |found| {
            let at = Timestamp::from_micros(row::int8(found, 1)?.cast_unsigned());
            each(row::seq(row::int8(found, 0)?), at.min(now));
            Ok(())
        })
    }

    fn sweep(&self) -> Result<SweepProgress> {
        let (reads, more) = self.recency.take_unsaved();
        if !reads.is_empty() {
            self.save(&reads).inspect_err(|_| self.recency.mark_unsaved(&reads))?;
        }
        Ok(SweepProgress { shapes: reads.len(), more })
    }
}
