use std::sync::Arc;

use shape_meta_core::{Counts, Result, Seq};

use super::{LatestOwner, PostgresInspector};
use crate::{
    PostgresOptions, PostgresPool,
    connection::pool::{Pooled, Purpose},
    format::{
        row,
        stack_row::{STACK_COLUMNS, StackRow},
        statements::Statements,
    },
    standby::open::check_tables,
};

const DOING: &str = "list the stacks";
/// The number of stacks that are read at once.
const PAGE: i64 = 1_000;

/// One stack of a database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackInfo {
    /// Name of the stack.
    pub name: String,
    /// Latest owner; `None` if it has closed the stack.
    pub owner: Option<LatestOwner>,
    /// Number of removed shapes whose stored data is not yet cleaned.
    pub cleanup_tasks: u64,
    /// State of the stack, or `Corrupt` if its row is damaged.
    pub state: Result<StackState>,
}

/// The state of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackState {
    /// Numbers of shapes.
    pub counts: Counts,
    /// Sequence number of the latest committed mutation.
    pub last_seq: Seq,
    /// Epoch of the latest owner.
    pub epoch: u64,
}

impl PostgresInspector {
    /// Returns all stacks, in the order of their names. Of the options only the schema counts. Writes
    /// nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` if the schema has no tables of ours, `UnsupportedSchema` if another version of this crate
    /// has written them, and those of the server.
    pub fn stacks(pool: &PostgresPool, options: &PostgresOptions) -> Result<Vec<StackInfo>> {
        let schema = options.schema_name()?;
        let statements = Statements::of(&schema);
        let connections = Arc::clone(pool.connections());
        pool.runtime().run(async move {
            let mut pooled = connections.checkout(Purpose::Operation).await?;
            let listed = list(&mut pooled, &statements, schema.as_str()).await;
            if !pooled.was_lost_while_idle() {
                return listed;
            }
            drop(pooled);
            list(&mut connections.checkout(Purpose::Operation).await?, &statements, schema.as_str()).await
        })
    }
}

async fn list(pooled: &mut Pooled, statements: &Statements, schema: &str) -> Result<Vec<StackInfo>> {
    let client = pooled.client()?;
    check_tables(client, statements, || format!("schema {schema:?} has no tables of ours")).await?;
    let (mut stacks, mut after) = (Vec::new(), String::new());
    loop {
        let rows = client.query(DOING, &statements.stacks, &[&after, &PAGE]).await?;
        for found in &rows {
            after = row::text(found, STACK_COLUMNS)?.to_owned();
            let state = StackRow::decode(found).map(|row| StackState {
                counts: row.counts,
                last_seq: row.last_seq,
                epoch: row.owner.epoch,
            });
            stacks.push(StackInfo {
                name: after.clone(),
                owner: LatestOwner::decode(found, STACK_COLUMNS + 2)?,
                cleanup_tasks: row::int8(found, STACK_COLUMNS + 1)?.cast_unsigned(),
                state,
            });
        }
        if (rows.len() as i64) < PAGE {
            return Ok(stacks);
        }
    }
}
