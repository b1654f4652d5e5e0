use std::{collections::HashSet, sync::Arc};

use shape_meta_core::{
    Counts, Entry, Record, Result, Seq, SnapshotState,
    store_parts::{LoggedChanges, checksum},
};
use tokio_postgres::types::ToSql;

use crate::{
    connection::client::Client,
    format::{cleanup, lookups::Lookups, row, stack_row::StackRow},
    stack::Stack,
    write::{NetChanges, columns::Columns, copy::Rows},
};

/// The number of added shapes from which on `COPY` is used. It takes two more round trips than an insert, and
/// less time for each row.
const COPY_FROM: usize = 64;
/// The number of rows of one insert, which is a parameter in memory.
const INSERT: usize = 5_000;

/// Writes the changes of a batch to the tables, in the transaction of the caller.
pub(crate) struct BatchWriter<'a> {
    stack: &'a Stack,
    client: &'a mut Client,
    /// Whether removed shapes leave cleanup tasks (C12).
    cleanup_tasks: bool,
    has_lookups: bool,
    /// Whether `COPY` is used for many rows. It fails if one of them is there already.
    copies: bool,
    counts: Counts,
    logged: LoggedChanges,
    tasks: u64,
}

/// What a batch has changed.
pub(crate) struct Written {
    pub(crate) counts: Counts,
    pub(crate) logged: LoggedChanges,
    /// The number of new cleanup tasks.
    pub(crate) tasks: u64,
}

impl<'a> BatchWriter<'a> {
    /// Begins a batch on a stack in the state `row`.
    pub(crate) fn new(
        stack: &'a Stack,
        client: &'a mut Client,
        row: &StackRow,
        cleanup_tasks: bool,
        copies: bool,
    ) -> Self {
        Self {
            stack,
            client,
            cleanup_tasks,
            has_lookups: row.has_lookups,
            copies,
            counts: row.counts,
            logged: LoggedChanges::since(row.last_seq),
            tasks: 0,
        }
    }

    /// Writes all changes. Adding a shape that exists, and removing or marking one that does not, do nothing
    /// (I6).
    pub(crate) async fn write(mut self, net: &NetChanges) -> Result<Written> {
        if net.reset {
            self.reset().await?;
        }
        self.remove(&net.removed).await?;
        let existing = self.add(&net.added).await?;
        let marked: Vec<_> = net.marked.iter().chain(&existing).collect();
        self.mark(&marked).await?;
        if self.cleanup_tasks {
            self.record_tasks(net.discarded.iter().map(|(id, handle)| (*id, &**handle))).await?;
        }
        Ok(Written { counts: self.counts, logged: self.logged, tasks: self.tasks })
    }

    async fn reset(&mut self) -> Result<()> {
        let (number, doing) = (self.stack.number, "remove all shapes");
        if self.cleanup_tasks {
            let (mut after, limit) = (0_i64, INSERT as i64);
            loop {
                let params: [&(dyn ToSql + Sync); 4] = [&number, &after, &i64::MAX, &limit];
                let rows = self.client.query(doing, &self.stack.statements.handles_after, &params).await?;
                let Some(last) = rows.last() else { break };
                after = row::int8(last, 0)?;
                let handles = rows.iter().map(|found| Ok((row::int8(found, 0)?, row::text(found, 1)?)));
                let handles = handles.collect::<Result<Vec<_>>>()?;
                self.record_tasks(handles).await?;
            }
        }
        let statements = &self.stack.statements;
        let mut all = vec![&statements.clear_shapes, &statements.clear_definitions, &statements.clear_reads];
        if self.has_lookups {
            all.extend([&statements.clear_handles, &statements.clear_keys, &statements.clear_relations]);
        }
        for statement in all {
            self.client.execute(doing, statement, &[&number]).await?;
        }
        self.counts = Counts::default();
        self.logged.reset();
        Ok(())
    }

    async fn remove(&mut self, removed: &[Arc<Entry>]) -> Result<()> {
        if removed.is_empty() {
            return Ok(());
        }
        let (number, doing) = (self.stack.number, "remove shapes");
        let statements = &self.stack.statements;
        let ids: Vec<_> = removed.iter().map(|entry| id(entry)).collect();
        let rows = self.client.query(doing, &statements.delete_shapes, &[&number, &ids]).await?;
        let mut gone = HashSet::with_capacity(rows.len());
        for found in &rows {
            gone.insert(row::int8(found, 0)?);
            self.counts.total = self.counts.total.saturating_sub(1);
            self.counts.indexed = self.counts.indexed.saturating_sub(row::boolean(found, 1)?.into());
        }
        let removed: Vec<_> = removed.iter().filter(|entry| gone.contains(&id(entry))).collect();
        if removed.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = removed.iter().map(|entry| id(entry)).collect();
        for statement in [&statements.delete_definitions, &statements.delete_reads] {
            self.client.execute(doing, statement, &[&number, &ids]).await?;
        }
        if self.has_lookups {
            let mut lookups = Lookups::default();
            removed.iter().for_each(|entry| lookups.push(entry));
            lookups.write(self.client, doing, number, statements.deletes()).await?;
        }
        removed.iter().for_each(|entry| self.logged.removed(entry.created()));
        if self.cleanup_tasks {
            self.record_tasks(removed.iter().map(|entry| (id(entry), &**entry.handle()))).await?;
        }
        Ok(())
    }

    /// Adds shapes. Returns those that exist already, with the state that the batch would leave them in.
    async fn add(
        &mut self,
        added: &[(Arc<Record>, SnapshotState)],
    ) -> Result<Vec<(Arc<Entry>, SnapshotState)>> {
        let mut existing = Vec::new();
        if self.copies && added.len() >= COPY_FROM {
            self.copy(added).await?;
        } else {
            for some in added.chunks(INSERT) {
                self.insert(some, &mut existing).await?;
            }
        }
        let old: HashSet<Seq> = existing.iter().map(|(entry, _): &(Arc<Entry>, _)| entry.created()).collect();
        let new =
            added.iter().map(|(record, _)| &*record.entry).filter(|entry| !old.contains(&entry.created()));
        for entry in new.clone() {
            self.counts.add(entry.is_indexed());
            self.logged.added(entry.created());
        }
        if self.has_lookups && !added.is_empty() {
            let mut lookups = Lookups::default();
            new.for_each(|entry| lookups.push(entry));
            let (number, inserts) = (self.stack.number, self.stack.statements.inserts());
            lookups.write(self.client, "add shapes", number, inserts).await?;
        }
        Ok(existing)
    }

    async fn copy(&mut self, added: &[(Arc<Record>, SnapshotState)]) -> Result<()> {
        let (number, statements) = (self.stack.number, &self.stack.statements);
        let mut shapes = Rows::shapes(number, added);
        let mut definitions = Rows::definitions(number, added);
        let shapes = (&statements.copy_shapes, |into: &mut Vec<u8>| shapes.next_chunk(into));
        let definitions = (&statements.copy_definitions, |into: &mut Vec<u8>| definitions.next_chunk(into));
        self.client.copy_both("copy shapes", shapes, definitions).await
    }

    async fn insert(
        &mut self,
        added: &[(Arc<Record>, SnapshotState)],
        existing: &mut Vec<(Arc<Entry>, SnapshotState)>,
    ) -> Result<()> {
        let (number, doing, statements) = (self.stack.number, "add shapes", &self.stack.statements);
        let columns = Columns::of(added);
        let mut shapes: Vec<&(dyn ToSql + Sync)> = vec![&number];
        shapes.extend(columns.shapes());
        let mut definitions: Vec<&(dyn ToSql + Sync)> = vec![&number];
        definitions.extend(columns.definitions());
        let (shapes, definitions) =
            ((&statements.insert_shapes, &*shapes), (&statements.insert_definitions, &*definitions));
        let rows = self.client.query_both(doing, shapes, definitions).await?;
        if rows.len() < added.len() {
            let inserted = rows.iter().map(|found| row::int8(found, 0)).collect::<Result<HashSet<_>>>()?;
            let others = added.iter().filter(|(record, _)| !inserted.contains(&id(&record.entry)));
            existing.extend(others.map(|(record, state)| (Arc::clone(&record.entry), *state)));
        }
        Ok(())
    }

    async fn mark(&mut self, marked: &[&(Arc<Entry>, SnapshotState)]) -> Result<()> {
        if marked.is_empty() {
            return Ok(());
        }
        let mut buffer = Vec::new();
        let ids: Vec<_> = marked.iter().map(|(entry, _)| id(entry)).collect();
        let states: Vec<_> = marked.iter().map(|(_, state)| i16::from(state.bits())).collect();
        let sums: Vec<_> =
            marked.iter().map(|(entry, state)| checksum::of_shape(entry, *state, &mut buffer)).collect();
        let params: [&(dyn ToSql + Sync); 4] = [&self.stack.number, &ids, &states, &sums];
        let rows = self.client.query("mark shapes", &self.stack.statements.mark_shapes, &params).await?;
        let changed = rows.iter().map(|found| row::int8(found, 0)).collect::<Result<HashSet<_>>>()?;
        for (entry, state) in marked.iter().filter(|(entry, _)| changed.contains(&id(entry))) {
            self.logged.marked(entry.created(), *state);
        }
        Ok(())
    }

    async fn record_tasks<'h>(&mut self, tasks: impl IntoIterator<Item = (i64, &'h str)>) -> Result<()> {
        let (ids, handles): (Vec<i64>, Vec<&str>) = tasks.into_iter().unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let sums: Vec<_> = handles.iter().map(|handle| cleanup::checksum(handle.as_bytes())).collect();
        let params: [&(dyn ToSql + Sync); 4] = [&self.stack.number, &ids, &handles, &sums];
        let doing = "record cleanup tasks";
        self.tasks += self.client.execute(doing, &self.stack.statements.insert_tasks, &params).await?;
        Ok(())
    }
}

fn id(entry: &Entry) -> i64 {
    // Folding the batch has checked that it fits.
    entry.created().get().cast_signed()
}
