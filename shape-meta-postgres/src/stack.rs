//! What the operations of one store share on the thread of the connections.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use shape_meta_core::Result;
use tokio_postgres::Row;

use crate::{
    PostgresPool,
    connection::{
        client::Client,
        pool::{Connections, Lease, Purpose},
    },
    format::{stack_row::StackRow, statements::Statements},
    ownership::opening::Opening,
    write::change_log::ChangeLogSize,
};

/// A stack that this store has opened.
pub(crate) struct Stack {
    connections: Arc<Connections>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) number: i64,
    pub(crate) opening: Opening,
    pub(crate) change_log_size: ChangeLogSize,
    /// Identifies the store in the connections that it has verified.
    instance: u64,
}

impl Stack {
    pub(crate) fn new(
        pool: &PostgresPool,
        statements: Arc<Statements>,
        number: i64,
        opening: Opening,
        change_log_size: ChangeLogSize,
    ) -> Self {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self {
            connections: Arc::clone(pool.connections()),
            statements,
            number,
            opening,
            change_log_size,
            instance,
        }
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Checks that a connection leads to our stack, when this store uses it for the first time (C13).
    pub(crate) async fn verify(&self, client: &mut Client) -> Result<()> {
        if client.verified_by.contains(&self.instance) {
            return Ok(());
        }
        // Before the row is read: a batch that is confirmed meanwhile need not be in it.
        let confirmed = self.opening.confirmed_seq();
        let rows = client.query("read the stack", &self.statements.stack, &[&self.number]).await?;
        let found = rows.first().map(StackRow::decode).transpose()?;
        self.opening.check_reader(found.as_ref(), confirmed)?;
        client.verified_by.insert(self.instance);
        Ok(())
    }

    /// Checks out a verified connection for reads, and runs `read` on it. Once more on another one, if the
    /// server had closed it while it was idle.
    pub(crate) async fn read(
        &self,
        doing: &str,
        statement: &Arc<str>,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> (Result<Vec<Row>>, std::time::Duration, usize) {
        let began = std::time::Instant::now();
        let (mut queued, mut active) = (None, 0);
        let mut is_last = false;
        loop {
            let mut lease = match self.connections.checkout(Purpose::Operation).await {
                Ok(lease) => lease,
                Err(error) => return (Err(error), queued.unwrap_or_else(|| began.elapsed()), active),
            };
            queued = queued.or_else(|| Some(began.elapsed()));
            active = lease.active();
            let outcome = self.read_on(&mut lease, doing, statement, params).await;
            if outcome.is_err() && lease.was_lost_while_idle() && !is_last {
                is_last = true;
                continue;
            }
            return (outcome, queued.unwrap_or_default(), active);
        }
    }

    async fn read_on(
        &self,
        lease: &mut Lease,
        doing: &str,
        statement: &Arc<str>,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let client = lease.client()?;
        self.verify(client).await?;
        client.query(doing, statement, params).await
    }

    /// Decodes the row of the stack as this store reads it.
    pub(crate) fn decode(&self, row: Option<&Row>) -> Result<StackRow> {
        match row {
            Some(row) => StackRow::decode(row),
            None => Err(self.opening.check(None).err().unwrap_or_else(shape_meta_core::Error::closed)),
        }
    }
}
