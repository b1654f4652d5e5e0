use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{
    Error, ErrorKind, Result, StampOutcome, Timestamp,
    store_parts::{Recency, SavedReads, StoredTime},
};

use crate::{
    PostgresOpenReport, PostgresOptions, PostgresPool,
    connection::{
        client::Client,
        pool::{Connections, Purpose},
    },
    format::{lineage::Lineage, migrate, row, schema::VERSION, stack_row::StackRow, statements::Statements},
    open::pipeline,
    ownership::position::Position,
    stack::{Role, Stack},
    write::change_log::ChangeLogSize,
};

const DOING: &str = "open the stack as a standby";

/// A stack that was found.
pub(crate) struct Found {
    pub(crate) stack: Stack,
    pub(crate) recency: Recency,
    pub(crate) report: PostgresOpenReport,
}

/// Opens a stack for reading. Writes nothing.
pub(crate) fn open(pool: &PostgresPool, name: &str, options: &PostgresOptions) -> Result<Found> {
    let started = Instant::now();
    pipeline::validate_name(name)?;
    let statements = Arc::new(Statements::of(&options.schema_name()?));
    let (connections, to_find, text) =
        (Arc::clone(pool.connections()), Arc::clone(&statements), name.to_owned());
    let wants_reads = options.last_reads;
    let (row, lineage, saved) =
        pool.runtime().run(async move { find(&connections, &to_find, &text, wants_reads).await })?;
    if options.disk_indexes.is_maintained() && !row.has_lookups {
        return Err(Error::new(
            ErrorKind::Configuration,
            "the options want `DiskIndexes::Maintained`, but the owner of the stack omits the look-ups; put a cache \
             that mirrors them above the standby, or open the owner with `DiskIndexes::Maintained`",
        ));
    }
    let now = Timestamp::now();
    let saved = saved.map(|saved| {
        let mut reads = SavedReads::default();
        reads.extend(saved.into_iter().map(|(id, at)| (id, StoredTime::new(at, now))));
        reads
    });
    let recency = Recency::new(lineage.openings(), row.last_seq, saved);
    let report = PostgresOpenReport {
        created: false,
        migrated_from: None,
        stamp: StampOutcome::Unchanged,
        disk_indexes_before: None,
        counts: row.counts,
        last_seq: row.last_seq,
        epoch: row.owner.epoch,
        took: started.elapsed(),
    };
    let role = Role::Standby(Position::new(&row, lineage));
    let stack = Stack::new(pool, statements, row.id, role, ChangeLogSize::default());
    Ok(Found { stack, recency, report })
}

type Read = (StackRow, Lineage, Option<Vec<(shape_meta_core::Seq, Timestamp)>>);

async fn find(
    connections: &Arc<Connections>,
    statements: &Statements,
    name: &str,
    wants_reads: bool,
) -> Result<Read> {
    let mut pooled = connections.checkout(Purpose::Operation).await?;
    if let Ok(read) = find_on(&mut pooled, statements, name, wants_reads).await {
        return Ok(read);
    }
    if pooled.was_lost_while_idle() {
        drop(pooled);
        pooled = connections.checkout(Purpose::Operation).await?;
    }
    let read = find_on(&mut pooled, statements, name, wants_reads).await;
    if read.is_err() {
        // So that it is not returned in a transaction.
        let _ = tokio::time::timeout(Duration::from_secs(5), pooled.client()?.roll_back()).await;
    }
    read
}

async fn find_on(
    pooled: &mut crate::connection::pool::Pooled,
    statements: &Statements,
    name: &str,
    wants_reads: bool,
) -> Result<Read> {
    let client = pooled.client()?;
    client.roll_back_if_open().await;
    check_tables(client, statements, || format!("there is no stack {name:?}")).await?;
    client.begin(DOING, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let found = client.query_opt(DOING, &statements.stack_by_name_unlocked, &[&name]).await?;
    let row = match found {
        Some(found) => StackRow::decode(&found)?,
        None => return Err(not_found(&format!("there is no stack {name:?}"))),
    };
    let lineage = Lineage::decode(&client.query(DOING, &statements.lineage, &[&row.id]).await?)?;
    let saved = match wants_reads {
        true => Some(pipeline::saved_reads(client, statements, row.id).await?),
        false => None,
    };
    client.roll_back().await;
    Ok((row, lineage, saved))
}

/// Checks that the tables are there, and have our version, for a reader. `missing` says what is not there.
pub(crate) async fn check_tables(
    client: &mut Client,
    statements: &Statements,
    missing: impl FnOnce() -> String,
) -> Result<()> {
    migrate::check_server(client).await?;
    let found = match client.query_opt(DOING, &statements.version_unlocked, &[]).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Corrupt => return Err(not_found(&missing())),
        Err(error) => return Err(error),
    };
    match found.map_or(Ok(0), |found| row::int4(&found, 0))? {
        VERSION => Ok(()),
        version => Err(other_version(version)),
    }
}

fn not_found(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{what}; an owner must create it before it can be read"))
}

fn other_version(version: i32) -> Error {
    let message = format!(
        "the tables have version {version}, and this program knows version {VERSION}; nothing has changed. Use the \
         same version of this program in all processes, or open the stack as its owner to migrate them"
    );
    Error::new(ErrorKind::UnsupportedSchema, message)
}
