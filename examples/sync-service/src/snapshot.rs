//! The snapshot of a new shape: its rows at one moment, as the first frames of its log.

use std::{pin::pin, sync::Arc};

use futures_util::TryStreamExt;
use shape_meta::{Handle, Keyed};
use tokio::sync::{mpsc, watch};
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::{
    apply::{Input, Messages, SnapshotDone},
    definition::TableShape,
    error::{Failure, Result},
    filter::{self, quoted},
    live::Live,
    log::{self, Header, LogWriter, Snapshot},
    metadata::Metadata,
    postgres::{Pool, describe},
    tables::{self, Table, Tables},
};

/// The size of the frames of a snapshot.
const FRAME_BYTES: usize = 512 << 10;

/// Makes snapshots, as many at a time as there are connections.
pub(crate) struct Snapshots {
    pub(crate) pool: Arc<Pool>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) metadata: Metadata,
    pub(crate) live: Arc<Live>,
    pub(crate) slot: watch::Receiver<Option<Arc<str>>>,
    pub(crate) input: mpsc::Sender<Input>,
}

impl Snapshots {
    /// Returns an error unless there is a slot that has the changes after a snapshot.
    pub(crate) fn is_possible(&self) -> Result<()> {
        match *self.slot.borrow() {
            Some(_) => Ok(()),
            None => Err(Failure::Overloaded("replication has not started yet".to_owned(), 1)),
        }
    }

    /// Makes the snapshot of a shape that was just added, in the background.
    pub(crate) fn spawn(self: &Arc<Self>, handle: Handle, definition: Arc<Keyed<TableShape>>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(failure) = this.make(&handle, definition.definition()).await {
                tracing::info!(%handle, %failure, "a snapshot failed");
                this.tables.forget(definition.definition().table.oid);
                this.live.failed(&handle, failure);
                this.metadata.remove(&handle).await;
            }
        });
    }

    async fn make(&self, handle: &Handle, definition: &TableShape) -> Result<()> {
        let connection = self.pool.get().await?;
        let client = &connection.client;
        // The lock keeps the table as it is until the rows are read.
        let begin = format!(
            "begin isolation level repeatable read read only; lock table {} in access share mode",
            definition.shape.table
        );
        client.batch_execute(&begin).await?;
        let header = self.header(client, &definition.table).await?;
        self.metadata.mark_started(handle).await?;
        let path = self.metadata.log_path(handle);
        let log = blocking({
            let header = header.clone();
            move || LogWriter::create(&path, &header)
        });
        let log = rows(client, definition, log.await?).await?;
        client.batch_execute("commit").await?;
        connection.give_back();
        let log = blocking(move || log::sync(log.path()).map(|()| log)).await?;
        let done = Box::new(SnapshotDone { handle: handle.clone(), header, log });
        let sent = self.input.send(Input::Snapshot(done)).await;
        sent.map_err(|_| Failure::Unavailable("the service is closing".to_owned()))
    }

    async fn header(&self, client: &Client, table: &Table) -> Result<Header> {
        let Some(slot) = self.slot.borrow().as_deref().map(ToOwned::to_owned) else {
            return Err(Failure::Unavailable("replication has not started yet".to_owned()));
        };
        // The snapshot is taken before the position is read.
        let query = "select pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::text";
        let row = client.query_one(query, &[]).await?;
        let snapshot = row.get::<_, &str>(1).parse().ok().and_then(|end| Snapshot::parse(row.get(0), end));
        let snapshot =
            snapshot.ok_or_else(|| Failure::Unavailable("the snapshot is not readable".to_owned()))?;
        if tables::columns(client, table.oid).await? != table.columns {
            return Err(Failure::Overloaded(format!("the table {} was altered", table.name), 1));
        }
        Ok(Header { slot, snapshot })
    }
}

/// Writes the rows of a shape to its log.
async fn rows(client: &Client, definition: &TableShape, mut log: LogWriter) -> Result<LogWriter> {
    let refused = || Failure::Invalid("the shape does not fit its table".to_owned());
    let messages = Messages::new(definition).ok_or_else(refused)?;
    let TableShape { shape, table } = definition;
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    // All columns, in the order of the table, so that positions mean the same as in changes.
    let wanted = |name: &&str| if shape.columns.contains(*name) { quoted(name) } else { "null".to_owned() };
    let columns: Vec<_> = names.iter().map(wanted).collect();
    let mut query = format!("select {} from {}", columns.join(", "), shape.table);
    if let Some(sql) = &shape.filter {
        let filter = filter::parse(sql, &shape.params, &table.typed_names());
        query += " where ";
        query += &filter.map_err(|error| Failure::Invalid(error.to_string()))?.to_sql(&names);
    }
    let stream = client.simple_query_raw(&query).await.map_err(refusal)?;
    let (mut stream, mut frame) = (pin!(stream), Vec::new());
    while let Some(message) = stream.try_next().await.map_err(refusal)? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let row: Vec<_> = (0..row.len()).map(|at| row.get(at)).collect();
        messages.insert(&row, None, &mut frame);
        if frame.len() >= FRAME_BYTES {
            log = append(log, std::mem::take(&mut frame)).await?;
        }
    }
    if frame.is_empty() { Ok(log) } else { append(log, frame).await }
}

async fn append(mut log: LogWriter, frame: Vec<u8>) -> Result<LogWriter> {
    blocking(move || log.append(0, &frame).map(|()| log)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failure::Overloaded(format!("the log of the shape: {error}"), 5)),
        Err(error) => Err(Failure::Unavailable(error.to_string())),
    }
}

/// A value that PostgreSQL cannot read is the client's mistake; it is found only with the query.
fn refusal(error: tokio_postgres::Error) -> Failure {
    let is_invalid = |state: &SqlState| state.code().starts_with("22") || state.code().starts_with("42");
    match error.code() {
        Some(state) if is_invalid(state) && *state != SqlState::UNDEFINED_TABLE => {
            Failure::Invalid(format!("PostgreSQL refuses the where clause: {}", describe(&error)))
        }
        _ => error.into(),
    }
}
