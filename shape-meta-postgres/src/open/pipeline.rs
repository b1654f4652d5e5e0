use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{
    Counts, Error, ErrorKind, Result, Seq, StampOutcome, Timestamp,
    store_parts::{Identity, OnLiveOwner, Recency, SavedReads, StoredTime},
};
use tokio_postgres::{Row, error::SqlState, types::ToSql};

use crate::{
    DiskIndexes, PostgresOpenReport, PostgresOptions, PostgresPool,
    config::SchemaName,
    connection::{
        client::{Client, CommitError},
        jitter,
        pool::{Connections, Pooled, Purpose},
    },
    error::code_of,
    format::{
        lineage::{KEPT, Lineage, LineageRow},
        lookups::Lookups,
        migrate, row,
        schema::VERSION,
        stack_row::{Ownership, STACK_COLUMNS, StackRow},
        statements::Statements,
    },
    lease::{Holding, Member},
    open::stamped,
    ownership::{opening::Opening, owner::LiveOwner},
    read::snapshot::PAGE,
    stack::{Role, Stack},
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
///    records the opening: from its commit on a former owner is fenced. It also begins the lease, builds or
///    deletes look-ups, and reads what the store keeps in memory. A live owner is fenced only on demand,
///    and a stack whose stamp is refused stays as it is.
/// 3. **Stamp.** What the options say about shapes with another stamp, in one transaction as that of a batch.
pub(crate) fn open(pool: &PostgresPool, name: &str, options: &PostgresOptions) -> Result<OpenedStack> {
    let started = Instant::now();
    validate_name(name)?;
    let schema = options.schema_name()?;
    let statements = Arc::new(Statements::of(&schema));
    let member = pool.members().of(pool.connections(), &schema)?;
    let attempt = Attempt {
        connections: Arc::clone(pool.connections()),
        member,
        statements: Arc::clone(&statements),
        name: name.to_owned(),
        options: options.clone(),
    };
    let (owned, migrated_from, holding) = pool.runtime().run(attempt.run(schema))?;
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
    let role = Role::Owner { opening: Opening::new(&row, owned.ancestors), holding };
    let stack = Stack::new(pool, statements, row.id, role, ChangeLogSize::new(owned.log_size));
    Ok(OpenedStack { stamp: owned.stamp, stack, recency, report, tasks: owned.tasks })
}

fn changed_meanwhile() -> Error {
    let message = "the tables were changed by another program while the stack was being opened; nothing has changed, \
                   and it can be tried again";
    Error::new(ErrorKind::Interrupted, message)
}

pub(crate) fn validate_name(name: &str) -> Result<()> {
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
    let mut pooled = connections.checkout(Purpose::Operation).await?;
    migrate::check_server(pooled.client()?).await?;
    let client = pooled.client()?;
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

/// How often an open that was the victim of a deadlock is tried again.
const DEADLOCKS: u32 = 3;
/// How often an open that waits for a live owner looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An open, on the thread of the connections.
struct Attempt {
    connections: Arc<Connections>,
    member: Arc<Member>,
    statements: Arc<Statements>,
    name: String,
    options: PostgresOptions,
}

/// The outcome of the transaction that takes a stack over.
enum Taken {
    Owned(Box<Owned>, Holding),
    /// The tables do not have our version, or are not there.
    NeedsTables,
    /// Nothing has changed.
    HasLiveOwner(LiveOwner),
}

/// A stack whose row the transaction has locked.
enum Locked {
    /// It has no live owner, or one that is to be fenced.
    Free {
        row: StackRow,
        /// Whether this transaction has created it.
        created: bool,
    },
    HasLiveOwner(LiveOwner),
}

impl Attempt {
    async fn run(self, schema: SchemaName) -> Result<(Owned, Option<u32>, Holding)> {
        let began = Instant::now();
        let mut migrated_from = None;
        let (mut has_migrated, mut deadlocks) = (false, 0);
        loop {
            let (busy, remaining) = match self.own().await {
                Ok(Taken::Owned(owned, holding)) => return Ok((*owned, migrated_from, holding)),
                Ok(Taken::NeedsTables) if has_migrated => return Err(changed_meanwhile()),
                Ok(Taken::NeedsTables) => {
                    migrated_from = migrate_tables(&self.connections, &schema).await?;
                    has_migrated = true;
                    continue;
                }
                Ok(Taken::HasLiveOwner(owner)) => (owner.already_open(&self.name), owner.remaining),
                // Two processes whose leases have run out may take over each other's stacks: each looks at
                // the lease of the other one, and then begins its own. The server has rolled this one back.
                Err(error)
                    if deadlocks < DEADLOCKS && code_of(&error) == Some(&SqlState::T_R_DEADLOCK_DETECTED) =>
                {
                    deadlocks += 1;
                    continue;
                }
                // An owner that re-keys its shapes locks the stack for longer than the lock time-out.
                Err(error) if error.kind() == ErrorKind::Busy => (error, LOOK_AGAIN),
                Err(error) => return Err(error),
            };
            let left = match self.options.on_live_owner {
                OnLiveOwner::Wait(limit) => limit.saturating_sub(began.elapsed()),
                OnLiveOwner::Fail | OnLiveOwner::Fence => Duration::ZERO,
            };
            if left.is_zero() {
                return Err(busy);
            }
            // No connection is held meanwhile.
            let at_end_of_lease = remaining + Duration::from_millis(1);
            tokio::time::sleep(jitter(LOOK_AGAIN).min(at_end_of_lease).min(left)).await;
            if let Some(stop) = &self.options.stop {
                stop.wait(Duration::ZERO)?;
            }
        }
    }

    async fn own(&self) -> Result<Taken> {
        let mut pooled = self.connections.checkout(Purpose::Operation).await?;
        let taken = self.own_on(&mut pooled).await;
        if taken.is_err() && pooled.was_lost_while_idle() {
            drop(pooled);
            return self.own_on(&mut self.connections.checkout(Purpose::Operation).await?).await;
        }
        taken
    }

    async fn own_on(&self, pooled: &mut Pooled) -> Result<Taken> {
        let client = pooled.client()?;
        let synchronous_commit = self.options.durability.synchronous_commit();
        let begin = format!("BEGIN; SET LOCAL synchronous_commit = {synchronous_commit}");
        client.begin(DOING, &begin).await?;
        let version = match client.query_opt(DOING, &self.statements.version, &[]).await {
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
            return Ok(Taken::NeedsTables);
        }
        let outcome = match self.lock_stack(client).await {
            Ok(Locked::HasLiveOwner(owner)) => Ok(Err(owner)),
            Ok(Locked::Free { row, created }) => self.begin(client, row, created).await.map(Ok),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Ok((owned, requested))) => {
                let opening = owned.row.owner.opening;
                let _committing = self.member.committing(opening);
                // If the answer is lost, an opening that nothing knows may own the stack, in our own name:
                // the next one of this pool takes it over at once, and one of another when the lease has
                // ended.
                client.commit(DOING).await.map_err(CommitError::into_error)?;
                let holding = self.member.hold(opening, &self.connections);
                self.member.extended(requested);
                Ok(Taken::Owned(Box::new(owned), holding))
            }
            Ok(Err(owner)) => {
                client.roll_back().await;
                Ok(Taken::HasLiveOwner(owner))
            }
            Err(error) => {
                client.roll_back().await;
                Err(error)
            }
        }
    }

    /// Locks the row of the stack, and creates it if there is none.
    async fn lock_stack(&self, client: &mut Client) -> Result<Locked> {
        let (find, name) = (&self.statements.stack_by_name, &self.name);
        let found = match client.query_opt(DOING, find, &[name]).await? {
            Some(found) => found,
            None => {
                let has_lookups = self.options.disk_indexes.is_maintained();
                if let Some(row) = create(client, &self.statements, name, has_lookups).await? {
                    return Ok(Locked::Free { row, created: true });
                }
                // Another opening has created it since, and may own it.
                client.query_opt(DOING, find, &[name]).await?.ok_or_else(changed_meanwhile)?
            }
        };
        Ok(match self.live_owner(client, &found).await? {
            Some(owner) => Locked::HasLiveOwner(owner),
            None => Locked::Free { row: StackRow::decode(&found)?, created: false },
        })
    }

    /// Returns the owner whose lease has not run out, unless it is to be fenced.
    async fn live_owner(&self, client: &mut Client, found: &Row) -> Result<Option<LiveOwner>> {
        let Some(process) = row::optional_bytes(found, STACK_COLUMNS)?.map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        if self.options.on_live_owner == OnLiveOwner::Fence {
            return Ok(None);
        }
        if process == self.member.id.as_bytes() {
            let is_open = self.member.has_open(StackRow::decode(found)?.owner.opening);
            return Ok(is_open.then(|| LiveOwner::this_process(self.member.remaining())));
        }
        let found = client.query_opt(DOING, &self.statements.lock_process, &[&process]).await?;
        found.as_ref().map_or(Ok(None), |found| LiveOwner::decode(found, 0))
    }

    async fn begin(&self, client: &mut Client, row: StackRow, created: bool) -> Result<(Owned, Instant)> {
        let (options, process) = (&self.options, self.member.id);
        let owned = own_in_transaction(client, &self.statements, options, process, row, created).await?;
        client.execute(DOING, &self.statements.forget_processes, &[]).await?;
        Ok((owned, self.member.begin_lease(client, DOING).await?))
    }
}

async fn own_in_transaction(
    client: &mut Client,
    statements: &Statements,
    options: &PostgresOptions,
    process: Identity,
    row: StackRow,
    created: bool,
) -> Result<Owned> {
    let wants_lookups = options.disk_indexes.is_maintained();
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
    let params: [&(dyn ToSql + Sync); 6] =
        [&number, &epoch, &opening, &row.checksum(), &wants_lookups, &process.as_bytes()];
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

pub(crate) async fn saved_reads(
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
