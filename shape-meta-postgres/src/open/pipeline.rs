use std::{process, sync::Arc, time::Instant};

use shape_meta_core::{
    Counts, Error, ErrorKind, Result, Seq, StampOutcome, Timestamp,
    store_parts::{Recency, SavedReads, StoredTime},
};
use tokio_postgres::types::ToSql;

use crate::{
    DiskIndexes, PostgresOpenReport, PostgresOptions, PostgresPool,
    config::SchemaName,
    connection::{
        client::{Client, CommitError},
        pool::{Connections, Lease, Purpose},
    },
    format::{
        identity::Identity,
        lineage::{KEPT, Lineage, LineageRow},
        lookup_hash::Lookups,
        migrate, row,
        schema::VERSION,
        stack_row::{Ownership, StackRow},
        statements::Statements,
    },
    open::stamped,
    ownership::{opening::Opening, owner},
    read::snapshot::PAGE,
    stack::Stack,
    write::change_log::{self, ChangeLogSize},
};

/// A stack that this process owns.
pub(crate) struct OpenedStack {
    /// What has still to be done about the stamp of its shapes.
    pub(crate) stamp: stamped::Plan,
    pub(crate) stack: Stack,
    pub(crate) recency: Recency,
    pub(crate) report: PostgresOpenReport,
    /// The number of cleanup tasks.
    pub(crate) tasks: u64,
}

/// The longest name of a stack, in bytes: it is unique by an index.
const MAX_NAME: usize = 1_000;
const DOING: &str = "open the stack";

/// Opens or creates a stack. The order of the steps keeps C11 (nothing is destroyed without ownership):
///
/// 1. **Migrate**, unless the tables have our version. The server is checked, and the tables are created or
///    migrated in a transaction of their own, under an advisory lock.
/// 2. **Own.** One transaction locks the version of the tables and the row of the stack, bumps the epoch, and
///    records the opening: from its commit on a former owner is fenced. It also builds or deletes look-ups,
///    and reads what the store keeps in memory. A stack whose stamp is refused stays as it is.
/// 3. **Stamp.** What the options say about shapes with another stamp, in a transaction as that of a batch.
pub(crate) fn open(pool: &PostgresPool, name: &str, options: &PostgresOptions) -> Result<OpenedStack> {
    let started = Instant::now();
    validate_name(name)?;
    let schema = options.schema_name()?;
    let statements = Arc::new(Statements::of(&schema));
    let (connections, name, options) = (Arc::clone(pool.connections()), name.to_owned(), options.clone());
    let to_own = Arc::clone(&statements);
    let (owned, migrated_from) = pool.runtime().run(async move {
        if let Some(owned) = own(&connections, &to_own, &name, &options).await? {
            return Ok((owned, None));
        }
        let migrated_from = migrate_tables(&connections, &schema).await?;
        let owned = own(&connections, &to_own, &name, &options).await?;
        Ok((owned.ok_or_else(changed_meanwhile)?, migrated_from))
    })?;
    let row = owned.row;
    let report = PostgresOpenReport {
        created: owned.created,
        migrated_from,
        disk_indexes_before: owned.disk_indexes_before,
        counts: row.counts,
        last_seq: row.last_seq,
        epoch: row.owner.epoch,
        stamp: StampOutcome::Unchanged,
        took: started.elapsed(),
    };
    let openings = owned.ancestors.followed_by(owned.lineage_row).openings();
    let now = Timestamp::now();
    let saved = owned.saved.map(|saved| {
        let mut reads = SavedReads::default();
        reads.extend(saved.into_iter().map(|(id, at)| (id, StoredTime::new(at, now))));
        reads
    });
    let recency = Recency::new(openings, row.last_seq, saved);
    let opening = Opening::new(&row, owned.ancestors);
    let stack = Stack::new(pool, statements, row.id, opening, ChangeLogSize::new(owned.log_size));
    Ok(OpenedStack { stamp: owned.stamp, stack, recency, report, tasks: owned.tasks })
}

fn changed_meanwhile() -> Error {
    let message = "the tables were changed by another program while the stack was being opened; nothing has changed, \
                   and it can be tried again";
    Error::new(ErrorKind::Interrupted, message)
}

fn validate_name(name: &str) -> Result<()> {
    let why = match name {
        "" => "it is empty",
        _ if name.len() > MAX_NAME => "it is longer than 1000 bytes",
        _ if name.contains(char::is_control) => "it contains a control character",
        _ => return Ok(()),
    };
    let message = format!("the name of the stack {name:?} is invalid: {why}; choose another one");
    Err(Error::new(ErrorKind::Configuration, message))
}

/// Returns the version before, if it was another one.
async fn migrate_tables(connections: &Arc<Connections>, schema: &SchemaName) -> Result<Option<u32>> {
    let doing = "create or migrate the tables";
    let mut lease = connections.checkout(Purpose::Operation).await?;
    migrate::check_server(lease.client()?).await?;
    let client = lease.client()?;
    client.begin(doing, "BEGIN").await?;
    let before = match migrate::migrate(client, schema).await {
        Ok(before) => before,
        Err(error) => {
            client.roll_back().await;
            return Err(error);
        }
    };
    if before == VERSION {
        client.roll_back().await;
        return Ok(None);
    }
    client.commit(doing).await.map_err(CommitError::into_error)?;
    Ok(Some(before.unsigned_abs()))
}

/// What the transaction that takes a stack over has read and written.
struct Owned {
    row: StackRow,
    ancestors: Lineage,
    lineage_row: LineageRow,
    /// The saved last-read times, if the store keeps them.
    saved: Option<Vec<(Seq, Timestamp)>>,
    log_size: u64,
    tasks: u64,
    created: bool,
    disk_indexes_before: Option<DiskIndexes>,
    stamp: stamped::Plan,
}

/// Takes the stack over. Returns `None` if the tables do not have our version, or are not there.
async fn own(
    connections: &Arc<Connections>,
    statements: &Statements,
    name: &str,
    options: &PostgresOptions,
) -> Result<Option<Owned>> {
    let mut lease = connections.checkout(Purpose::Operation).await?;
    let owned = own_on(&mut lease, statements, name, options).await;
    if owned.is_err() && lease.was_lost_while_idle() {
        drop(lease);
        return own_on(&mut connections.checkout(Purpose::Operation).await?, statements, name, options).await;
    }
    owned
}

async fn own_on(
    lease: &mut Lease,
    statements: &Statements,
    name: &str,
    options: &PostgresOptions,
) -> Result<Option<Owned>> {
    let client = lease.client()?;
    let synchronous_commit = options.durability.synchronous_commit();
    let begin = format!("BEGIN; SET LOCAL synchronous_commit = {synchronous_commit}");
    client.begin(DOING, &begin).await?;
    let version = match client.query_opt(DOING, &statements.version, &[]).await {
        Ok(found) => found.map(|found| row::int4(&found, 0)).transpose()?,
        // What is wrong with the tables is found by the migration.
        Err(error) if error.kind() == ErrorKind::Corrupt => None,
        Err(error) => {
            client.roll_back().await;
            return Err(error);
        }
    };
    if version != Some(VERSION) {
        client.roll_back().await;
        return Ok(None);
    }
    match own_in_transaction(client, statements, name, options).await {
        Ok(owned) => {
            // If the answer is lost, an opening that nothing knows may own the stack. The next one fences it.
            client.commit(DOING).await.map_err(CommitError::into_error)?;
            Ok(Some(owned))
        }
        Err(error) => {
            client.roll_back().await;
            Err(error)
        }
    }
}

async fn own_in_transaction(
    client: &mut Client,
    statements: &Statements,
    name: &str,
    options: &PostgresOptions,
) -> Result<Owned> {
    let wants_lookups = options.disk_indexes.is_maintained();
    let (row, created) = match find(client, statements, name).await? {
        Some(row) => (row, false),
        None => match create(client, statements, name, wants_lookups).await? {
            Some(row) => (row, true),
            // Another opening has created it since.
            None => (find(client, statements, name).await?.ok_or_else(changed_meanwhile)?, false),
        },
    };
    let number = row.id;
    let stamp = stamped::plan(client, statements, number, options.stamp.as_ref()).await?;
    let ancestors = Lineage::decode(&client.query(DOING, &statements.lineage, &[&number]).await?)?;
    let disk_indexes_before = (row.has_lookups != wants_lookups).then_some(DiskIndexes::of(row.has_lookups));
    if disk_indexes_before.is_some() {
        for statement in [&statements.clear_handles, &statements.clear_keys, &statements.clear_relations] {
            client.execute("delete the look-ups", statement, &[&number]).await?;
        }
        if wants_lookups {
            build_lookups(client, statements, number).await?;
        }
    }

    let owner = Ownership { opening: Identity::random()?, epoch: row.owner.epoch + 1, ..row.owner };
    let row = StackRow { owner, has_lookups: wants_lookups, ..row };
    let (epoch, opening) = (owner.epoch.cast_signed(), owner.opening.as_bytes());
    let (process, host) = (i64::from(process::id()), owner::host());
    let params: [&(dyn ToSql + Sync); 7] =
        [&number, &epoch, &opening, &row.checksum(), &wants_lookups, &process, &host];
    client.execute(DOING, &statements.own_stack, &params).await?;
    let lineage_row = LineageRow::of(&row, Timestamp::now());
    let (began_at, at) = (row.last_seq.get().cast_signed(), lineage_row.opened.as_micros().cast_signed());
    let params: [&(dyn ToSql + Sync); 6] =
        [&number, &epoch, &opening, &began_at, &at, &lineage_row.checksum()];
    client.execute(DOING, &statements.insert_lineage, &params).await?;
    client.execute(DOING, &statements.trim_lineage, &[&number, &KEPT]).await?;

    let saved = match options.last_reads {
        true => Some(saved_reads(client, statements, number).await?),
        false => None,
    };
    let log_size = number_of(client, &statements.change_log_size, number).await?;
    let tasks = number_of(client, &statements.count_tasks, number).await?;
    Ok(Owned { row, ancestors, lineage_row, saved, log_size, tasks, created, disk_indexes_before, stamp })
}

async fn number_of(client: &mut Client, statement: &Arc<str>, stack: i64) -> Result<u64> {
    let found = client.query_opt(DOING, statement, &[&stack]).await?;
    Ok(found.map_or(Ok(0), |found| row::int8(&found, 0))?.cast_unsigned())
}

/// Returns the locked row of a stack.
async fn find(client: &mut Client, statements: &Statements, name: &str) -> Result<Option<StackRow>> {
    let found = client.query_opt(DOING, &statements.stack_by_name, &[&name]).await?;
    found.map(|found| StackRow::decode(&found)).transpose()
}

/// Creates a stack. Returns `None` if there is one with this name.
async fn create(
    client: &mut Client,
    statements: &Statements,
    name: &str,
    has_lookups: bool,
) -> Result<Option<StackRow>> {
    // The opening is replaced before the transaction ends.
    let (database, opening) = (Identity::random()?, Identity::random()?);
    let params: [&(dyn ToSql + Sync); 4] = [&name, &database.as_bytes(), &opening.as_bytes(), &has_lookups];
    let found = client.query_opt("create the stack", &statements.insert_stack, &params).await?;
    let Some(found) = found else { return Ok(None) };
    let id = row::int8(&found, 0)?;
    change_log::write(client, statements, id, 0, &[]).await?;
    let owner = Ownership { database, opening, epoch: 0 };
    Ok(Some(StackRow { id, last_seq: Seq::ZERO, counts: Counts::default(), owner, has_lookups }))
}

/// Builds the look-ups of all shapes, page by page.
async fn build_lookups(client: &mut Client, statements: &Statements, number: i64) -> Result<()> {
    let doing = "build the look-ups";
    let mut after = 0;
    loop {
        let rows = client.query(doing, &statements.shapes_after, &[&number, &after, &PAGE]).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = row::int8(last, 0)?;
        let mut lookups = Lookups::default();
        for found in &rows {
            lookups.push(&row::entry(found, |_| None)?);
        }
        lookups.write(client, doing, number, statements.inserts()).await?;
    }
}

async fn saved_reads(
    client: &mut Client,
    statements: &Statements,
    number: i64,
) -> Result<Vec<(Seq, Timestamp)>> {
    let (mut saved, mut after, doing) = (Vec::new(), 0, "read the last reads");
    loop {
        let rows = client.query(doing, &statements.reads_after, &[&number, &after, &PAGE]).await?;
        let Some(last) = rows.last() else { return Ok(saved) };
        after = row::int8(last, 0)?;
        for found in &rows {
            let at = Timestamp::from_micros(row::int8(found, 1)?.cast_unsigned());
            saved.push((row::seq(row::int8(found, 0)?), at));
        }
    }
}
