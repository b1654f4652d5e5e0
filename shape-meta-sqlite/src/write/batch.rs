use rusqlite::{CachedStatement, Connection, Params, params};
use shape_meta_core::{Change, Counts, Entry, Error, ErrorKind, Record, Result, Seq, SnapshotState};

use crate::{
    DiskIndexes,
    error::failed,
    format::{checksum, index::IndexChanges, meta::Meta, row, sql},
    write::change_log::LoggedChanges,
};

/// Changes on their way into the tables, inside of a transaction that somebody else opens and commits.
pub(crate) struct BatchWriter<'c> {
    connection: &'c Connection,
    insert_shape: CachedStatement<'c>,
    insert_definition: CachedStatement<'c>,
    /// Bytes of relations, of dependencies, and of what a checksum is over.
    buffer: [Vec<u8>; 3],
    index: Option<IndexChanges>,
    counts: Counts,
    changed: LoggedChanges,
}

impl<'c> BatchWriter<'c> {
    /// After what `meta` says.
    pub(crate) fn new(connection: &'c Connection, disk_indexes: DiskIndexes, meta: &Meta) -> Result<Self> {
        let prepare = |sql| connection.prepare_cached(sql).map_err(failed("prepare a batch"));
        Ok(Self {
            connection,
            insert_shape: prepare(sql::INSERT_SHAPE)?,
            insert_definition: prepare(sql::INSERT_DEFINITION)?,
            buffer: Default::default(),
            index: (disk_indexes == DiskIndexes::Maintained).then(IndexChanges::default),
            counts: meta.counts,
            changed: LoggedChanges::since(meta.last_seq),
        })
    }

    /// One change. What is not there to be removed or marked, or is there already, is let be (I6).
    pub(crate) fn change(&mut self, change: &Change) -> Result<()> {
        let outcome = match change {
            Change::Add { record, state } => self.add(record, *state),
            Change::Remove { entry } => self.remove(entry),
            Change::Mark { entry, state } => self.mark(entry, *state),
            Change::Reset => self.reset(),
        };
        outcome.map_err(|error| match change.entry() {
            Some(entry) => error.with_culprit(entry.created()),
            None => error,
        })
    }

    /// Writes what was gathered, and says how many shapes there are now, and what followers have to hear.
    pub(crate) fn finish(mut self) -> Result<(Counts, LoggedChanges)> {
        if let Some(index) = &mut self.index {
            index.write(self.connection)?;
        }
        Ok((self.counts, self.changed))
    }

    fn add(&mut self, record: &Record, state: SnapshotState) -> Result<()> {
        let entry = &*record.entry;
        let id = row_id(entry.created())?;
        let [relations, dependencies, buffer] = &mut self.buffer;
        row::encode_relations(entry.relations(), relations);
        row::encode_dependencies(&record.dependencies, dependencies);
        let new = self.insert_shape.execute(params![
            id,
            entry.handle().as_str(),
            entry.key().as_bytes(),
            entry.hash().get().cast_signed(),
            state.bits(),
            entry.is_indexed(),
            &*relations,
            checksum::of_shape(entry, state, buffer),
        ]);
        if new.map_err(failed("add a shape"))? == 0 {
            return Ok(());
        }
        let sum =
            checksum::of_definition(entry.created(), entry.key(), &record.dependencies, &record.definition);
        self.insert_definition
            .execute(params![id, &*dependencies, &*record.definition, sum])
            .map_err(failed("add a shape"))?;
        if let Some(index) = &mut self.index {
            index.add(id, entry);
        }
        self.counts.add(entry.is_indexed());
        self.changed.added(entry.created());
        Ok(())
    }

    pub(crate) fn remove(&mut self, entry: &Entry) -> Result<()> {
        let id = row_id(entry.created())?;
        if self.execute(sql::DELETE_SHAPE, [id], "remove a shape")? == 0 {
            return Ok(());
        }
        self.execute(sql::DELETE_DEFINITION, [id], "remove a shape")?;
        self.execute(sql::DELETE_READ, [id], "remove a shape")?;
        self.changed.removed(entry.created());
        if let Some(index) = &mut self.index {
            index.remove(id, entry);
        }
        self.counts.total = self.counts.total.saturating_sub(1);
        self.counts.indexed = self.counts.indexed.saturating_sub(entry.is_indexed().into());
        Ok(())
    }

    fn mark(&mut self, entry: &Entry, state: SnapshotState) -> Result<()> {
        let id = row_id(entry.created())?;
        let [.., buffer] = &mut self.buffer;
        let sum = checksum::of_shape(entry, state, buffer);
        if self.execute(sql::MARK, (id, state.bits(), sum), "mark a shape")? > 0 {
            self.changed.marked(entry.created(), state);
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        // Without a condition SQLite drops the pages of a table rather than its rows one by one.
        self.connection
            .execute_batch("DELETE FROM shape; DELETE FROM definition; DELETE FROM last_read;")
            .map_err(failed("remove all shapes"))?;
        if let Some(index) = &mut self.index {
            index.clear(self.connection)?;
        }
        self.counts = Counts::default();
        self.changed.reset();
        Ok(())
    }

    fn execute(&self, sql: &str, values: impl Params, doing: &str) -> Result<usize> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(failed(doing))
    }
}

fn row_id(created: Seq) -> Result<i64> {
    i64::try_from(created.get()).map_err(|_| {
        let message = format!("the place {created} in the order is beyond what a row id can be");
        Error::new(ErrorKind::Rejected, message).with_culprit(created)
    })
}
