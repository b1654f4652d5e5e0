use std::{sync::Arc, time::Duration};

use pgwire_replication::{Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent};
use tokio::sync::{mpsc, watch};

use super::{
    Change, Durable, PositionFile, Transaction, create_publication, drop_others, open_slot, pgoutput::Decoder,
};
use crate::{apply::Input, error::Failure, metadata::Metadata, options::Options, postgres};

/// How much of one transaction is kept in memory. One that is larger makes the shapes of its tables again.
const MAX_TRANSACTION_BYTES: usize = 256 << 20;
/// The delays between attempts to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The time between two reports of the durable position to PostgreSQL.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two attempts to drop the slots of former owners.
const DROP_SLOTS: Duration = Duration::from_secs(2);

/// Follows the changes, and connects again when the connection is lost.
pub(crate) struct Stream {
    pub(crate) options: Arc<Options>,
    pub(crate) pool: Arc<postgres::Pool>,
    pub(crate) positions: Arc<PositionFile>,
    pub(crate) metadata: Metadata,
    pub(crate) input: mpsc::Sender<Input>,
    /// The slot, from the moment at which it is known to have the changes of new shapes.
    pub(crate) slot: watch::Sender<Option<Arc<str>>>,
    pub(crate) durable: watch::Receiver<Option<Durable>>,
}

impl Stream {
    /// Runs until the applier has ended.
    pub(crate) async fn run(mut self) {
        let mut delay = RETRY.0;
        while !self.input.is_closed() {
            let started = tokio::time::Instant::now();
            if let Err(failure) = self.follow().await {
                tracing::warn!(%failure, "the replication stream ended; it is opened again");
            }
            if started.elapsed() > RETRY.1 {
                delay = RETRY.0;
            }
            let _ = tokio::time::timeout(delay, self.input.closed()).await;
            delay = (delay * 2).min(RETRY.1);
        }
    }

    async fn follow(&mut self) -> Result<(), Failure> {
        let connection = self.pool.get().await?;
        create_publication(&connection.client, &self.options.publication).await?;
        let position =
            open_slot(&connection.client, &self.options.slot, &self.positions, &self.metadata).await?;
        connection.give_back();
        let slot: Arc<str> = position.slot.as_str().into();
        self.send(Input::Slot(Arc::clone(&slot))).await?;
        let config = self.config(&position.slot)?;
        let mut client = ReplicationClient::connect(config).await.map_err(failed)?;
        client.wait_started().await.map_err(failed)?;
        self.slot.send_replace(Some(Arc::clone(&slot)));
        tracing::info!(slot = position.slot, "replication has started");
        self.receive(&mut client, &slot).await
    }

    async fn receive(&mut self, client: &mut ReplicationClient, slot: &str) -> Result<(), Failure> {
        let (mut decoder, mut open) = (Decoder::default(), None::<Open>);
        let (mut has_others, mut drops) = (true, tokio::time::interval(DROP_SLOTS));
        loop {
            let event = tokio::select! {
                event = client.recv() => event.map_err(failed)?,
                changed = self.durable.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    if let Some((_, position)) = self.durable.borrow_and_update().as_ref().filter(|it| *it.0 == *slot) {
                        client.update_applied_lsn(Lsn(*position));
                    }
                    continue;
                }
                _ = drops.tick(), if has_others => {
                    // A process that hung for a while must not end the stream of the one that replaced it.
                    if !self.metadata.is_ready() {
                        continue;
                    }
                    let connection = self.pool.get().await?;
                    has_others = drop_others(&connection.client, &self.options.slot, slot).await?;
                    connection.give_back();
                    continue;
                }
                () = self.input.closed() => return Ok(()),
            };
            match event {
                Some(ReplicationEvent::Begin { xid, .. }) => open = Some(Open::new(xid)),
                Some(ReplicationEvent::XLogData { data, .. }) => {
                    let mut changes = Vec::new();
                    let decoded = decoder.decode(&data, &mut changes);
                    decoded
                        .map_err(|_| Failure::Unavailable("a message of pgoutput is malformed".to_owned()))?;
                    if let Some(open) = &mut open {
                        open.push(changes, data.len());
                    }
                }
                Some(ReplicationEvent::Commit { end_lsn, .. }) => {
                    if let Some(Open { xid, changes, .. }) = open.take() {
                        let transaction = Transaction { xid, commit_end: end_lsn.0, changes };
                        self.send(Input::Transaction(Arc::new(transaction))).await?;
                    }
                }
                // Everything that was committed before it has been sent.
                Some(ReplicationEvent::KeepAlive { wal_end, .. }) if open.is_none() => {
                    self.send(Input::Progress(wal_end.0)).await?;
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    async fn send(&self, input: Input) -> Result<(), Failure> {
        let sent = self.input.send(input).await;
        sent.map_err(|_| Failure::Unavailable("the service is closing".to_owned()))
    }

    fn config(&self, slot: &str) -> Result<ReplicationConfig, Failure> {
        let (host, port) = self.options.server()?;
        let postgres = &self.options.postgres;
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (user, database) =
            (postgres.get_user().unwrap_or_default(), postgres.get_dbname().unwrap_or_default());
        let password = text(postgres.get_password());
        let config =
            ReplicationConfig::new(host, user, password, database, slot, self.options.publication.as_str());
        Ok(config
            .with_port(port)
            .with_status_interval(STATUS_INTERVAL)
            .with_options(postgres::SETTINGS)
            .with_application_name("sync-service"))
    }
}

fn failed(error: pgwire_replication::PgWireError) -> Failure {
    Failure::Unavailable(format!("the replication connection: {error}"))
}

/// A transaction whose commit is not received yet.
struct Open {
    xid: u32,
    changes: Vec<(Arc<super::Columns>, Change)>,
    bytes: usize,
}

impl Open {
    fn new(xid: u32) -> Self {
        Self { xid, changes: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, changes: Vec<(Arc<super::Columns>, Change)>, bytes: usize) {
        self.bytes += bytes;
        self.changes.extend(changes);
        if self.bytes > MAX_TRANSACTION_BYTES {
            // One entry for each table is left.
            let mut tables: Vec<_> = self.changes.drain(..).map(|(table, _)| table).collect();
            tables.sort_unstable_by_key(|table| table.oid);
            tables.dedup_by_key(|table| table.oid);
            self.changes = tables.into_iter().map(|table| (table, Change::Restart)).collect();
            self.bytes = MAX_TRANSACTION_BYTES;
        }
    }
}
