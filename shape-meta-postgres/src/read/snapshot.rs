//! A transaction that only reads, and sees one moment of the stack.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Result};
use tokio_postgres::{Row, types::ToSql};

use crate::{
    PostgresStore,
    connection::{
        operation::Operation,
        pool::{Pooled, Purpose},
        runtime::Answer,
    },
    format::stack_row::StackRow,
    meter::Use,
    stack::Stack,
};

/// The number of rows of a page without definitions.
pub(crate) const PAGE: i64 = 5_000;

/// A read transaction. The caller drives it, step by step; between two steps nothing runs.
///
/// It holds a connection, and keeps the server from removing rows that are dead since. So it is bounded:
/// after the time limit each step fails, and the server ends it if no step comes.
pub(crate) struct Snapshot<'s> {
    store: &'s PostgresStore,
    doing: &'static str,
    pooled: Option<Pooled>,
    /// The state of the stack at the moment of the snapshot.
    pub(crate) row: StackRow,
    limit: Duration,
    /// Before the begin was sent, so that the server never finds the snapshot over before we do.
    began: Instant,
    checkout: Option<Use<'s>>,
}

/// What compares the state that a snapshot shows with what was known before (C13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verified {
    Here,
    ByCaller,
}

/// A query that runs.
pub(crate) struct Step(Answer<(Pooled, Vec<Row>)>);

/// A parameter of a query.
pub(crate) type Param = Box<dyn ToSql + Sync + Send>;

/// The end of a snapshot at most this long after its last step.
const FAREWELL: Duration = Duration::from_secs(5);

impl<'s> Snapshot<'s> {
    /// Begins a snapshot for an operation that ends by itself.
    pub(crate) fn begin(store: &'s PostgresStore, operation: Operation, doing: &'static str) -> Result<Self> {
        Self::begin_for(store, operation, doing, Purpose::Operation, Verified::Here)
    }

    /// Begins a snapshot of what the server shows, whatever it is: for a standby, which compares it itself.
    pub(crate) fn begin_unverified(
        store: &'s PostgresStore,
        operation: Operation,
        doing: &'static str,
    ) -> Result<Self> {
        Self::begin_for(store, operation, doing, Purpose::Operation, Verified::ByCaller)
    }

    /// Begins a snapshot that its user may leave open.
    pub(crate) fn begin_scan(store: &'s PostgresStore) -> Result<Self> {
        Self::begin_for(store, Operation::Scan, "scan the shapes", Purpose::Scan, Verified::Here)
    }

    fn begin_for(
        store: &'s PostgresStore,
        operation: Operation,
        doing: &'static str,
        purpose: Purpose,
        verified: Verified,
    ) -> Result<Self> {
        let waiting = store.meter.wait(operation);
        let (stack, limit) = (Arc::clone(&store.stack), store.options.scan_timeout);
        let begun = store.runtime().and_then(|runtime| {
            runtime.run(async move {
                let mut pooled = stack.connections().checkout(purpose).await?;
                let mut began = Instant::now();
                let mut outcome = begin_transaction(&stack, &mut pooled, doing, limit, verified).await;
                if outcome.is_err() && pooled.was_lost_while_idle() {
                    drop(pooled);
                    pooled = stack.connections().checkout(purpose).await?;
                    began = Instant::now();
                    outcome = begin_transaction(&stack, &mut pooled, doing, limit, verified).await;
                }
                outcome.map(|row| (pooled, row, began)).map_err(|error| ended(error, doing, began, limit))
            })
        });
        match begun {
            Ok((pooled, row, began)) => {
                let checkout = Some(waiting.granted(pooled.active()));
                Ok(Self { store, doing, pooled: Some(pooled), row, limit, began, checkout })
            }
            Err(error) => Err(waiting.refused(error)),
        }
    }

    /// Starts a query, which runs while the caller goes on.
    pub(crate) fn start(&mut self, statement: &Arc<str>, params: Vec<Param>) -> Result<Step> {
        let doing = self.doing;
        let statement = Arc::clone(statement);
        if self.began.elapsed() >= self.limit {
            self.pooled = None;
        }
        let Some(mut pooled) = self.pooled.take() else { return Err(over(self.doing, self.limit)) };
        let answer = self.store.pool.runtime().begin(async move {
            let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| &**param as _).collect();
            let rows = pooled.client()?.query(doing, &statement, &params).await?;
            Ok((pooled, rows))
        })?;
        Ok(Step(answer))
    }

    /// Waits for the rows of a query that was started.
    pub(crate) fn finish(&mut self, step: Step) -> Result<Vec<Row>> {
        match step.0.wait() {
            Ok((pooled, rows)) => {
                self.pooled = Some(pooled);
                Ok(rows)
            }
            Err(error) => {
                let error = ended(error, self.doing, self.began, self.limit);
                if let Some(checkout) = &mut self.checkout {
                    checkout.failed(&error);
                }
                Err(error)
            }
        }
    }

    /// Returns the rows of a query.
    pub(crate) fn query(&mut self, statement: &Arc<str>, params: Vec<Param>) -> Result<Vec<Row>> {
        let step = self.start(statement, params)?;
        self.finish(step)
    }

    /// Passes all rows of a statement that returns pages to `each`, page by page. `$2` is the last id before
    /// the page, the first column of each row its id, `$3` the size of the page.
    ///
    /// The next page is read while `each` works.
    pub(crate) fn pages(
        &mut self,
        statement: &Arc<str>,
        after: i64,
        mut each: impl FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        let number = self.row.id;
        let page_after =
            |after: i64| -> Vec<Param> { vec![Box::new(number), Box::new(after), Box::new(PAGE)] };
        let mut step = Some(self.start(statement, page_after(after))?);
        while let Some(running) = step.take() {
            let rows = self.finish(running)?;
            if rows.len() as i64 == PAGE
                && let Some(last) = rows.last()
            {
                step = Some(self.start(statement, page_after(crate::format::row::int8(last, 0)?))?);
            }
            rows.iter().try_for_each(&mut each)?;
        }
        Ok(())
    }
}

/// Returns the error of a step. The server ends a snapshot that is over by closing the connection, and what
/// it says is often lost with that.
fn ended(error: Error, doing: &str, began: Instant, limit: Duration) -> Error {
    let is_over = error.kind() == ErrorKind::Io && began.elapsed() >= limit;
    if is_over { over(doing, limit).with_source(error) } else { error }
}

fn over(doing: &str, limit: Duration) -> Error {
    Error::new(
        ErrorKind::Interrupted,
        format!(
            "could not {doing}: it took longer than its time-out of {limit:?}, or failed before, and its snapshot was \
             given up; nothing has changed. Begin again, read faster, or raise `scan_timeout`"
        ),
    )
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if let Some(mut pooled) = self.pooled.take() {
            let _ = self.store.pool.runtime().spawn(async move {
                if let Ok(client) = pooled.client() {
                    let _ = tokio::time::timeout(FAREWELL, client.roll_back()).await;
                }
            });
        }
    }
}

async fn begin_transaction(
    stack: &Stack,
    pooled: &mut Pooled,
    doing: &str,
    limit: Duration,
    verified: Verified,
) -> Result<StackRow> {
    let client = pooled.client()?;
    if verified == Verified::Here {
        stack.verify(client).await?;
    }
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = {}",
        // In whole milliseconds, and not less than our own limit.
        limit.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128)
    );
    let rows = client.begin_with(doing, &begin, &stack.statements.stack, &[&stack.number]).await?;
    stack.decode(rows.first())
}
