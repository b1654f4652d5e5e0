use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Counts, Handle, Result, Seq, Stamp, Timestamp,
    store_parts::{ShapeTotals, TopRelation},
};
use tokio_postgres::Row;

use super::PostgresInspector;
use crate::{
    DiskIndexes,
    format::{row, schema, stamp},
    ownership::owner::LiveOwner,
    read::snapshot::Snapshot,
};

/// Summary of a stack.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackSummary {
    /// Version of the server.
    pub server_version: String,
    /// Schema version of the tables.
    pub schema_version: u32,
    /// Size of the tables in bytes, with their indexes: of all stacks in the schema.
    pub table_bytes: u64,
    /// Latest owner; `None` if it has closed the stack.
    pub owner: Option<LatestOwner>,
    /// Epoch of the latest owner.
    pub epoch: u64,
    /// Stamp of the shapes, if the stack has one.
    pub stamp: Option<Stamp>,
    /// Sequence number of the latest committed mutation.
    pub last_seq: Seq,
    /// Numbers of shapes, as the row of the stack has them.
    pub counts: Counts,
    /// Numbers of shapes whose snapshot is pending, started and complete.
    pub states: [u64; 3],
    /// Number of removed shapes whose stored data is not yet cleaned.
    pub cleanup_tasks: u64,
    /// Whether stored data without a shape is known to belong to this stack, so that the owner deletes it.
    pub is_storage_trusted: bool,
    /// Number of damaged shape rows. Other fields do not include them, except `counts`.
    pub damaged_rows: u64,
    /// Whether the database answers look-ups.
    pub disk_indexes: DiskIndexes,
    /// Oldest shape and the sequence number of its add.
    pub oldest: Option<(Seq, Handle)>,
    /// Newest shape and the sequence number of its add.
    pub newest: Option<(Seq, Handle)>,
    /// Relations with the most shapes, in descending order.
    pub top_relations: Vec<TopRelation>,
}

/// The latest owner of a stack that it has not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatestOwner {
    /// Process, its host, and the address where other processes reach it; `None` if its lease ended more than
    /// a day ago.
    pub process: Option<u32>,
    /// Name of its host; may be empty.
    pub host: String,
    /// Address at which other processes reach it; may be empty.
    pub address: String,
    /// Time at which it opened the stack, by the clock of the server.
    pub since: Timestamp,
    /// Rest of its lease if it is not renewed, by the clock of the server; `None` if it has run out.
    pub lease: Option<Duration>,
}

impl LatestOwner {
    /// Decodes the columns of `owner_columns!`, from column `at` on.
    pub(super) fn decode(found: &Row, at: usize) -> Result<Option<Self>> {
        if !row::boolean(found, at)? {
            return Ok(None);
        }
        let live = LiveOwner::decode(found, at + 2)?;
        let text = |at| Ok(row::optional_text(found, at)?.unwrap_or_default().to_owned());
        let process = row::optional_int8(found, at + 4)?;
        Ok(Some(Self {
            process: process.and_then(|process| u32::try_from(process).ok()),
            host: text(at + 3)?,
            address: text(at + 2)?,
            since: Timestamp::from_micros(row::int8(found, at + 1)?.cast_unsigned()),
            lease: live.map(|owner| owner.remaining),
        }))
    }
}

impl PostgresInspector {
    /// Returns a summary with at most `top` relations. Reads all shape rows of the stack once, but no
    /// definitions.
    ///
    /// # Errors
    ///
    /// An error if the server cannot be read.
    pub fn summary(&self, top: usize) -> Result<StackSummary> {
        let mut snapshot = self.snapshot()?;
        let mut totals = ShapeTotals::default();
        let statements = Arc::clone(&self.reader.stack.statements);
        snapshot.pages(&statements.shapes_after, 0, |found| {
            totals.add(row::entry(found, |_| None));
            Ok(())
        })?;
        let stack = snapshot.row;
        let owner = one(&mut snapshot, &statements.latest_owner)?;
        let owner = owner.as_ref().map_or(Ok(None), |found| LatestOwner::decode(found, 0))?;
        let stamp = one(&mut snapshot, &statements.stamp)?;
        let stamp = stamp.as_ref().map(stamp::decode).transpose()?;
        let tasks = one(&mut snapshot, &statements.count_tasks)?;
        let trusted = one(&mut snapshot, &statements.trusted_storage)?;
        let is_storage_trusted = trusted.map_or(Ok(false), |found| {
            let is_of_stack = row::bytes(&found, 0)? == stack.owner.database.as_bytes();
            Ok::<_, shape_meta_core::Error>(is_of_stack && row::boolean(&found, 1)?)
        })?;
        let schema = self.reader.options.schema_name()?.as_str().to_owned();
        let server = snapshot.query(&Arc::from(SERVER), vec![Box::new(schema)])?;
        let server = server.first().ok_or_else(shape_meta_core::Error::closed)?;
        Ok(StackSummary {
            server_version: row::text(server, 0)?.to_owned(),
            schema_version: schema::VERSION.unsigned_abs(),
            table_bytes: row::int8(server, 1)?.cast_unsigned(),
            owner,
            epoch: stack.owner.epoch,
            stamp,
            last_seq: stack.last_seq,
            counts: stack.counts,
            states: totals.states,
            cleanup_tasks: tasks.map_or(Ok(0), |found| row::int8(&found, 0))?.cast_unsigned(),
            is_storage_trusted,
            damaged_rows: totals.damaged_rows,
            disk_indexes: DiskIndexes::of(stack.has_lookups),
            top_relations: totals.top_relations(top),
            oldest: totals.oldest,
            newest: totals.newest,
        })
    }
}

/// The version of the server, and the size of the tables in schema `$1`.
const SERVER: &str = "
    SELECT current_setting('server_version'), (
        SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind = 'r')";

/// Returns the row of a statement whose only parameter is the number of the stack.
fn one(snapshot: &mut Snapshot<'_>, statement: &Arc<str>) -> Result<Option<Row>> {
    let number = Box::new(snapshot.row.id);
    Ok(snapshot.query(statement, vec![number])?.into_iter().next())
}
