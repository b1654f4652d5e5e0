use std::mem;

use rusqlite::{CachedStatement, Connection, Params, params};
use shape_meta_core::{
    Change, Counts, Entry, Error, ErrorKind, Handle, Record, Result, Seq, SnapshotState,
    store_parts::{LoggedChanges, checksum},
};

use crate::{
    DiskIndexes,
    error::failed,
    format::{
        block::{self, BlockBuilder},
        cleanup,
        index::IndexChanges,
        meta::Meta,
        query::one,
        row, sql,
    },
};

/// Writes the changes of a batch to the tables, in the transaction of the caller.
pub(crate) struct BatchWriter<'c> {
    connection: &'c Connection,
    insert_shape: CachedStatement<'c>,
    insert_definition: CachedStatement<'c>,
    /// The definitions that are not written yet: those of the latest adds.
    block: BlockBuilder,
    /// The row id of the latest add. Later ones are above it: a block is found by the order of its shapes.
    newest: i64,
    /// Whether the database has refused definitions of earlier adds: the change that had them written is not
    /// at fault.
    refused: bool,
    /// The removed shapes whose definitions may be in blocks.
    removed: Vec<i64>,
    /// Reused buffers for relations, for dependencies, and for the input of a checksum.
    buffers: [Vec<u8>; 3],
    index: Option<IndexChanges>,
    counts: Counts,
    logged: LoggedChanges,
    /// The number of cleanup tasks that it has written; `None` if it writes none.
    tasks: Option<u64>,
}

impl<'c> BatchWriter<'c> {
    /// Begins a batch on a database in the state `meta`.
    pub(crate) fn new(connection: &'c Connection, disk_indexes: DiskIndexes, meta: &Meta) -> Result<Self> {
        let prepare = |sql| connection.prepare_cached(sql).map_err(failed("prepare a batch"));
        Ok(Self {
            connection,
            insert_shape: prepare(sql::INSERT_SHAPE)?,
            insert_definition: prepare(sql::INSERT_DEFINITION)?,
            block: BlockBuilder::default(),
            newest: 0,
            refused: false,
            removed: Vec::new(),
            buffers: Default::default(),
            index: (disk_indexes == DiskIndexes::Maintained).then(IndexChanges::default),
            counts: meta.counts,
            logged: LoggedChanges::since(meta.last_seq),
            tasks: None,
        })
    }

    /// Makes it write a cleanup task for every shape that it removes (C12).
    pub(crate) fn with_cleanup_tasks(mut self, cleanup_tasks: bool) -> Self {
        self.tasks = cleanup_tasks.then_some(0);
        self
    }

    /// Returns the number of cleanup tasks that it has written.
    pub(crate) fn tasks(&self) -> u64 {
        self.tasks.unwrap_or(0)
    }

    /// Applies one change. Adding a shape that exists, and removing or marking one that does not, do nothing
    /// (I6).
    ///
    /// # Errors
    ///
    /// Those of the database, with the sequence number of the shape as `rejected_seq`. It is that of an
    /// earlier add if its definition is refused now, or none if it is not known which one is refused.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<()> {
        let outcome = match change {
            Change::Add { record, state } => self.add(record, *state),
            Change::Remove { entry } => self.remove(entry),
            Change::Mark { entry, state } => self.mark(entry, *state),
            Change::Discard { created, handle } => self.record_task(row_id(*created)?, handle),
            Change::Reset => self.reset(),
        };
        outcome.map_err(|error| match change.entry() {
            Some(entry) if !self.refused => error.with_rejected_seq(entry.created()),
            _ => error,
        })
    }

    /// Writes the last definitions and the index changes. Returns the counts after the batch, and its row of
    /// the change log.
    ///
    /// # Errors
    ///
    /// As those of [`apply`](Self::apply).
    pub(crate) fn finish(mut self) -> Result<(Counts, LoggedChanges)> {
        self.write_definitions()?;
        self.delete_blocks()?;
        if let Some(index) = &mut self.index {
            index.write(self.connection)?;
        }
        Ok((self.counts, self.logged))
    }

    fn add(&mut self, record: &Record, state: SnapshotState) -> Result<()> {
        let entry = &*record.entry;
        let id = row_id(entry.created())?;
        let [relations, dependencies, buffer] = &mut self.buffers;
        row::encode_relations(entry.relations(), relations);
        block::encode_dependencies(&record.dependencies, dependencies);
        let inserted = self.insert_shape.execute(params![
            id,
            entry.handle().as_str(),
            entry.key().as_bytes(),
            entry.hash().get().cast_signed(),
            state.bits(),
            entry.is_indexed(),
            &*relations,
            checksum::of_shape(entry, state, buffer),
            row::encode_created_at(entry.created_at()),
        ]);
        if inserted.map_err(failed("add a shape"))? == 0 {
            return Ok(());
        }
        if id < self.newest {
            let message = format!(
                "shape {id} is older than shape {}, which the same batch adds before it; nothing has changed. \
                 Add shapes in the order of creation",
                self.newest
            );
            return Err(Error::new(ErrorKind::Rejected, message));
        }
        self.newest = id;
        if let Some(index) = &mut self.index {
            index.add(id, entry);
        }
        self.counts.add(entry.is_indexed());
        self.logged.added(entry.created());
        self.add_definition(id, record)
    }

    /// Adds the definition to the block of the latest adds. One that is too large has a row of its own.
    fn add_definition(&mut self, id: i64, record: &Record) -> Result<()> {
        let (entry, body) = (&record.entry, &*record.definition);
        let sum = checksum::of_definition(entry.created(), entry.key(), &record.dependencies, body);
        let is_too_large = BlockBuilder::is_too_large(self.buffers[1].len(), body.len());
        if is_too_large || !self.block.takes(id) {
            self.write_definitions()?;
        }
        self.block.add(id, &self.buffers[1], body, sum);
        if is_too_large { self.write_definitions() } else { Ok(()) }
    }

    /// Writes the definitions of the latest adds: a single one as a row, several as a block.
    ///
    /// # Errors
    ///
    /// Those of the database. If it refuses a definition, with the sequence number of its shape as
    /// `rejected_seq`, unless it has rolled the transaction back.
    fn write_definitions(&mut self) -> Result<()> {
        let mut block = mem::take(&mut self.block);
        let written = if block.len() > 1
            && let Some(found) = block.encode()
        {
            let values = params![found.id, found.list, found.content, found.checksum(), found.first];
            self.insert_definition.execute(values).map_err(failed("add a shape"))
        } else {
            self.write_each(&block)
        };
        let written = match written {
            // Which one of them is refused? The statement has changed nothing.
            Err(error)
                if error.kind() == ErrorKind::Rejected
                    && error.rejected_seq().is_none()
                    && !self.connection.is_autocommit() =>
            {
                self.write_each(&block)
            }
            written => written,
        };
        block.clear();
        self.block = block;
        self.refused |= written.is_err();
        written.map(drop)
    }

    /// Writes each definition of the block as a row of its own. Returns how many these are.
    fn write_each(&mut self, block: &BlockBuilder) -> Result<usize> {
        for one in block.definitions() {
            self.insert_definition
                .execute(params![one.id, one.dependencies, one.body, one.checksum, None::<i64>])
                .map_err(|error| failed("add a shape")(error).with_rejected_seq(row::seq(one.id)))?;
        }
        Ok(block.len())
    }

    pub(crate) fn remove(&mut self, entry: &Entry) -> Result<()> {
        let id = row_id(entry.created())?;
        if self.execute(sql::DELETE_SHAPE, [id], "remove a shape")? == 0 {
            return Ok(());
        }
        if self.block.contains(id) {
            self.write_definitions()?;
        }
        if self.execute(sql::DELETE_DEFINITION, [id], "remove a shape")? == 0 {
            self.removed.push(id);
        }
        self.execute(sql::DELETE_READ, [id], "remove a shape")?;
        self.record_task(id, entry.handle())?;
        self.logged.removed(entry.created());
        if let Some(index) = &mut self.index {
            index.remove(id, entry);
        }
        self.counts.total = self.counts.total.saturating_sub(1);
        self.counts.indexed = self.counts.indexed.saturating_sub(entry.is_indexed().into());
        Ok(())
    }

    /// Deletes the blocks of removed shapes that have no other shape.
    fn delete_blocks(&mut self) -> Result<()> {
        self.removed.sort_unstable();
        let mut done = i64::MIN;
        for id in mem::take(&mut self.removed) {
            if id <= done {
                continue;
            }
            let block = one(self.connection, sql::BLOCK_OF, [id], |found| {
                let first: Option<i64> = found.get(1).map_err(failed("remove a shape"))?;
                Ok((first, row::integer(found, 0)?))
            })?;
            if let Some((Some(first), last)) = block
                && first <= id
            {
                self.execute(sql::DELETE_BLOCK, [first, last], "remove a shape")?;
                done = last;
            }
        }
        Ok(())
    }

    /// Puts a shape in the place of another one: without a cleanup task, because both have the same handle
    /// and the same stored data.
    pub(crate) fn replace(&mut self, old: &Entry, new: &Record, state: SnapshotState) -> Result<()> {
        let tasks = self.tasks.take();
        let replaced = self.remove(old).and_then(|()| self.add(new, state));
        self.tasks = tasks;
        replaced
    }

    fn mark(&mut self, entry: &Entry, state: SnapshotState) -> Result<()> {
        let id = row_id(entry.created())?;
        let [.., buffer] = &mut self.buffers;
        let sum = checksum::of_shape(entry, state, buffer);
        if self.execute(sql::MARK, (id, state.bits(), sum), "mark a shape")? > 0 {
            self.logged.marked(entry.created(), state);
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        if let Some(tasks) = &mut self.tasks {
            *tasks += cleanup::insert_all(self.connection)?;
        }
        self.block.clear();
        self.newest = 0;
        self.removed.clear();
        // Without a condition SQLite frees the pages of a table instead of deleting row by row.
        self.connection
            .execute_batch("DELETE FROM shape; DELETE FROM definition; DELETE FROM last_read;")
            .map_err(failed("remove all shapes"))?;
        if let Some(index) = &mut self.index {
            index.clear(self.connection)?;
        }
        self.counts = Counts::default();
        self.logged.reset();
        Ok(())
    }

    fn record_task(&mut self, id: i64, handle: &Handle) -> Result<()> {
        if let Some(tasks) = &mut self.tasks {
            *tasks += cleanup::insert(self.connection, id, handle)?;
        }
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
        let message = format!(
            "sequence number {created} is above the largest row id, {}; nothing has changed",
            i64::MAX
        );
        Error::new(ErrorKind::Rejected, message).with_rejected_seq(created)
    })
}
