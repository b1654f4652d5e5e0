//! One connection, with its prepared statements.

use std::{
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, future::join};
use shape_meta_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{
    AsyncMessage, Connection, CopyInSink, Row, Statement,
    error::{Severity, SqlState},
    types::ToSql,
};

use crate::{
    error::{breaks_connection, failed, no_answer},
    notify::{Channel, News},
};

/// How much longer than the server's own time-out an answer may take, at most.
const GRACE: Duration = Duration::from_secs(5);
/// And at least: a server under load may end a statement late.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);
/// The maximum number of prepared statements. A store has about fifty, for each schema.
const MAX_STATEMENTS: usize = 1_000;

/// The parameters of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection whose task is not started yet.
pub(crate) struct Opened {
    client: tokio_postgres::Client,
    driver: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    warned: Arc<AtomicBool>,
    delivery: Arc<OnceLock<Delivery>>,
}

/// Where the notifications of a channel go.
type Delivery = (Channel, Arc<News>);

impl Opened {
    /// Takes over what the library returned.
    pub(crate) fn spawn<S, T>((client, mut connection): (tokio_postgres::Client, Connection<S, T>)) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let warned = Arc::new(AtomicBool::new(false));
        let warns = Arc::clone(&warned);
        let delivery = Arc::new(OnceLock::<Delivery>::new());
        let delivers = Arc::clone(&delivery);
        let driver = Box::pin(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                match (message, delivers.get()) {
                    (AsyncMessage::Notice(notice), _)
                        // One with a context is of a function, such as a trigger, and not of the commit.
                        if *notice.code() == SqlState::WARNING
                            && notice.where_().is_none()
                            && notice
                                .parsed_severity()
                                .is_none_or(|severity| severity == Severity::Warning) =>
                    {
                        warns.store(true, Ordering::Release);
                    }
                    (AsyncMessage::Notification(notification), Some((channel, news)))
                        if channel.is(notification.channel()) =>
                    {
                        news.record(notification.payload());
                    }
                    _ => {}
                }
            }
            // What was announced meanwhile is found by polling, at once.
            if let Some((_, news)) = delivers.get() {
                news.arrived.notify_one();
            }
        });
        Self { client, driver, warned, delivery }
    }
}

/// A connection. It knows whether it may be used again.
pub(crate) struct Client {
    inner: tokio_postgres::Client,
    statements: HashMap<Arc<str>, Statement>,
    /// The stores that have verified the database behind this connection.
    pub(crate) verified_by: HashSet<u64>,
    /// Whether the server itself has sent a warning.
    warned: Arc<AtomicBool>,
    delivery: Arc<OnceLock<Delivery>>,
    answer_timeout: Duration,
    is_broken: bool,
    in_transaction: bool,
}

impl Client {
    /// Starts the task of a connection, which drops `open` when it ends.
    pub(crate) fn start(opened: Opened, open: flume::Sender<()>, statement_timeout: Duration) -> Self {
        let Opened { client, driver, warned, delivery } = opened;
        drop(tokio::spawn(async move {
            driver.await;
            drop(open);
        }));
        Self {
            inner: client,
            statements: HashMap::new(),
            verified_by: HashSet::new(),
            warned,
            delivery,
            answer_timeout: statement_timeout.saturating_add(statement_timeout.clamp(SHORTEST_GRACE, GRACE)),
            is_broken: false,
            in_transaction: false,
        }
    }

    /// Passes the notifications of a channel on from now on. Only the first call counts.
    pub(crate) fn deliver(&self, channel: Channel, news: Arc<News>) {
        self.delivery.get_or_init(|| (channel, news));
    }

    /// Whether it can be used by another operation.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.is_broken && !self.in_transaction && !self.inner.is_closed()
    }

    /// Whether it is lost, so that an operation on it may succeed on another one.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_broken || self.inner.is_closed()
    }

    /// Waits for the answer to a statement.
    async fn answer<T>(
        is_broken: &mut bool,
        limit: Duration,
        doing: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                *is_broken |= breaks_connection(&error);
                Err(failed(doing)(error))
            }
            Err(_) => {
                *is_broken = true;
                Err(no_answer(doing))
            }
        }
    }

    /// Runs statements without parameters.
    pub(crate) async fn execute_all(&mut self, doing: &str, statements: &str) -> Result<()> {
        let answer = self.inner.batch_execute(statements);
        Self::answer(&mut self.is_broken, self.answer_timeout, doing, answer).await
    }

    async fn prepared(&mut self, doing: &str, statement: &Arc<str>) -> Result<Statement> {
        if let Some(prepared) = self.statements.get(statement) {
            return Ok(prepared.clone());
        }
        let answer = self.inner.prepare(statement);
        let prepared = Self::answer(&mut self.is_broken, self.answer_timeout, doing, answer).await?;
        if self.statements.len() >= MAX_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(Arc::clone(statement), prepared.clone());
        Ok(prepared)
    }

    /// Returns all rows of a statement.
    pub(crate) async fn query(
        &mut self,
        doing: &str,
        statement: &Arc<str>,
        params: Params<'_>,
    ) -> Result<Vec<Row>> {
        let prepared = self.prepared(doing, statement).await?;
        let answer = self.inner.query(&prepared, params);
        Self::answer(&mut self.is_broken, self.answer_timeout, doing, answer).await
    }

    /// Returns the only row of a statement, if there is one.
    pub(crate) async fn query_opt(
        &mut self,
        doing: &str,
        statement: &Arc<str>,
        params: Params<'_>,
    ) -> Result<Option<Row>> {
        Ok(self.query(doing, statement, params).await?.into_iter().next())
    }

    /// Runs a statement. Returns the number of rows that it has changed.
    pub(crate) async fn execute(
        &mut self,
        doing: &str,
        statement: &Arc<str>,
        params: Params<'_>,
    ) -> Result<u64> {
        let prepared = self.prepared(doing, statement).await?;
        let answer = self.inner.execute(&prepared, params);
        Self::answer(&mut self.is_broken, self.answer_timeout, doing, answer).await
    }

    /// Runs two statements of an open transaction in one round trip. Returns the rows of the first.
    ///
    /// # Errors
    ///
    /// That of the first, if both fail: the second fails because the first has.
    pub(crate) async fn query_both(
        &mut self,
        doing: &str,
        (first, first_params): (&Arc<str>, Params<'_>),
        (second, second_params): (&Arc<str>, Params<'_>),
    ) -> Result<Vec<Row>> {
        let (first, second) = (self.prepared(doing, first).await?, self.prepared(doing, second).await?);
        let inner = &self.inner;
        let both = async {
            // Sent in this order, since that is the order in which they are polled.
            let (rows, executed) =
                join(inner.query(&first, first_params), inner.execute(&second, second_params)).await;
            rows.and_then(|rows| executed.map(|_| rows))
        };
        Self::answer(&mut self.is_broken, 2 * self.answer_timeout, doing, both).await
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self, doing: &str, begin: &str) -> Result<()> {
        self.in_transaction = true;
        self.execute_all(doing, begin).await
    }

    /// Begins a transaction and runs its first query in one round trip.
    pub(crate) async fn begin_with(
        &mut self,
        doing: &str,
        begin: &str,
        statement: &Arc<str>,
        params: Params<'_>,
    ) -> Result<Vec<Row>> {
        let prepared = self.prepared(doing, statement).await?;
        self.in_transaction = true;
        let inner = &self.inner;
        let both = async {
            // Sent in this order, since that is the order in which they are polled.
            let (begun, rows) = join(inner.batch_execute(begin), inner.query(&prepared, params)).await;
            begun.and(rows)
        };
        Self::answer(&mut self.is_broken, self.answer_timeout, doing, both).await
    }

    /// Copies rows into two tables, in an open transaction. The second copy is sent behind the first, whose
    /// answer it does not wait for.
    ///
    /// # Errors
    ///
    /// That of the first, if both fail. The connection must not be used again then.
    pub(crate) async fn copy_both<A, B>(
        &mut self,
        doing: &str,
        (first, encode_first): (&Arc<str>, A),
        (second, encode_second): (&Arc<str>, B),
    ) -> Result<()>
    where
        A: FnMut(&mut Vec<u8>) -> bool,
        B: FnMut(&mut Vec<u8>) -> bool,
    {
        let (first, second) = (self.prepared(doing, first).await?, self.prepared(doing, second).await?);
        let inner = &self.inner;
        let both = async {
            // Sent in this order, since that is the order in which they are polled.
            let copies = join(copy(inner, &first, encode_first), copy(inner, &second, encode_second)).await;
            copies.0.and(copies.1)
        };
        let copied = Self::answer(&mut self.is_broken, 2 * self.answer_timeout, doing, both).await;
        // The server answers one message more to a copy that it refuses before the rows arrive, as it does
        // with a second one behind one that has failed. The library takes that for the answer to the next
        // statement.
        self.is_broken |= copied.is_err();
        copied
    }

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// [`CommitError::Unknown`] if no answer came, or the server has stopped waiting for its standby servers.
    pub(crate) async fn commit(&mut self, doing: &str) -> Result<(), CommitError> {
        self.warned.store(false, Ordering::Release);
        let answer = tokio::time::timeout(self.answer_timeout, self.inner.batch_execute("COMMIT")).await;
        self.committed(doing, answer)
    }

    /// Runs the last statement of a transaction and commits it, in one round trip. The commit is sent before
    /// the answer to the statement, so the statement has to fail if the transaction must not commit.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit). If the statement has failed, its error, and the server has rolled back.
    pub(crate) async fn commit_after(
        &mut self,
        doing: &str,
        statement: &Arc<str>,
        params: Params<'_>,
    ) -> Result<(), CommitError> {
        let prepared = self.prepared(doing, statement).await.map_err(CommitError::Refused)?;
        self.warned.store(false, Ordering::Release);
        let inner = &self.inner;
        let both = async {
            let mut last = std::pin::pin!(inner.query(&prepared, params));
            // The first poll sends it. If that fails, the commit would leave it out.
            if let Some(outcome) = last.as_mut().now_or_never() {
                outcome?;
                return inner.batch_execute("COMMIT").await;
            }
            // Sent second.
            let (last, committed) = join(last, inner.batch_execute("COMMIT")).await;
            last.and(committed)
        };
        let answer = tokio::time::timeout(self.answer_timeout, both).await;
        self.committed(doing, answer)
    }

    /// Decodes the answer to a commit.
    fn committed(
        &mut self,
        doing: &str,
        answer: Result<Result<(), tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<(), CommitError> {
        match answer {
            Ok(Ok(())) => {
                self.in_transaction = false;
                // The notice comes before the answer, on the task that has read both.
                if self.warned.load(Ordering::Acquire) {
                    return Err(CommitError::Unknown(Error::new(
                        ErrorKind::Interrupted,
                        format!(
                            "could not {doing}: the server committed it, and then stopped waiting for its standby \
                             servers; it can be tried again, and then waits for them"
                        ),
                    )));
                }
                Ok(())
            }
            Ok(Err(error)) => {
                // A statement that was refused in the transaction has rolled it back. Everything that ends
                // the connection may have come after the commit.
                let is_unknown = breaks_connection(&error) || error.code().is_none();
                self.is_broken |= is_unknown;
                let error = failed(doing)(error);
                Err(if is_unknown { CommitError::Unknown(error) } else { CommitError::Refused(error) })
            }
            Err(_) => {
                self.is_broken = true;
                Err(CommitError::Unknown(no_answer(doing)))
            }
        }
    }

    /// Rolls back what an earlier attempt has left open.
    pub(crate) async fn roll_back_if_open(&mut self) {
        if self.in_transaction {
            self.roll_back().await;
        }
    }

    /// Rolls the transaction back, so that the connection can be used again.
    pub(crate) async fn roll_back(&mut self) {
        if !self.is_lost() && self.execute_all("roll back", "ROLLBACK").await.is_ok() {
            self.in_transaction = false;
        }
    }
}

/// Copies rows into a table. `encode` appends the next rows and returns whether there are more.
async fn copy(
    inner: &tokio_postgres::Client,
    statement: &Statement,
    mut encode: impl FnMut(&mut Vec<u8>) -> bool,
) -> Result<(), tokio_postgres::Error> {
    let sink: CopyInSink<Bytes> = inner.copy_in(statement).await?;
    let mut sink = std::pin::pin!(sink);
    loop {
        let mut chunk = Vec::new();
        let more = encode(&mut chunk);
        if !chunk.is_empty() {
            sink.as_mut().send(Bytes::from(chunk)).await?;
        }
        if !more {
            return sink.as_mut().finish().await.map(drop);
        }
    }
}

/// A commit that did not succeed.
pub(crate) enum CommitError {
    /// It was rolled back.
    Refused(Error),
    /// It may be committed.
    Unknown(Error),
}

impl CommitError {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Unknown(error) => error,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("is_broken", &self.is_broken).finish_non_exhaustive()
    }
}
