//! What the operations of one store share on the thread of the connections.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use shape_meta_core::{Error, ErrorKind, Result};
use tokio_postgres::Row;

use crate::{
    PostgresPool,
    connection::{
        client::Client,
        pool::{Connections, Pooled, Purpose},
    },
    format::{lineage::Lineage, stack_row::StackRow, statements::Statements},
    lease::Holding,
    ownership::{opening::Opening, position::Position},
    write::change_log::ChangeLogSize,
};

/// What a store may do with its stack.
pub(crate) enum Role {
    /// It owns the stack.
    Owner {
        opening: Opening,
        /// What keeps the lease on it.
        holding: Holding,
    },
    /// It reads what another process owns, and has read up to this position.
    Standby(Position),
}

/// A stack that this store has opened.
pub(crate) struct Stack {
    connections: Arc<Connections>,
    pub(crate) statements: Arc<Statements>,
    pub(crate) number: i64,
    pub(crate) role: Role,
    pub(crate) change_log_size: ChangeLogSize,
    /// Identifies the store in the connections that it has verified.
    instance: u64,
}

impl Stack {
    pub(crate) fn new(
        pool: &PostgresPool,
        statements: Arc<Statements>,
        number: i64,
        role: Role,
        change_log_size: ChangeLogSize,
    ) -> Self {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self {
            connections: Arc::clone(pool.connections()),
            statements,
            number,
            role,
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
        match &self.role {
            Role::Owner { opening, .. } => {
                // Before the row is read: a batch that is confirmed meanwhile need not be in it.
                let confirmed = opening.confirmed();
                let rows = client.query(VERIFY, &self.statements.stack, &[&self.number]).await?;
                opening.check_reader(rows.first().map(StackRow::decode).transpose()?.as_ref(), confirmed)?;
            }
            Role::Standby(position) => {
                let shown = position.shown();
                // The row first: an opening that comes in between is in the line, and does no harm.
                let rows = client.query(VERIFY, &self.statements.stack, &[&self.number]).await?;
                let row = self.decode(rows.first())?;
                let lineage = client.query(VERIFY, &self.statements.lineage, &[&self.number]).await?;
                shown.check_reader(&row, &Lineage::decode(&lineage)?)?;
            }
        }
        client.verified_by.insert(self.instance);
        Ok(())
    }

    /// Returns our opening of the stack.
    ///
    /// # Errors
    ///
    /// `Standby` if another process owns it.
    pub(crate) fn opening(&self) -> Result<&Opening> {
        match &self.role {
            Role::Owner { opening, .. } => Ok(opening),
            Role::Standby(_) => Err(is_standby()),
        }
    }

    /// Returns what keeps the lease on the stack; `None` if another process owns it.
    pub(crate) fn holding(&self) -> Option<&Holding> {
        match &self.role {
            Role::Owner { holding, .. } => Some(holding),
            Role::Standby(_) => None,
        }
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
            let mut pooled = match self.connections.checkout(Purpose::Operation).await {
                Ok(pooled) => pooled,
                Err(error) => return (Err(error), queued.unwrap_or_else(|| began.elapsed()), active),
            };
            queued = queued.or_else(|| Some(began.elapsed()));
            active = pooled.active();
            let outcome = self.read_on(&mut pooled, doing, statement, params).await;
            if outcome.is_err() && pooled.was_lost_while_idle() && !is_last {
                is_last = true;
                continue;
            }
            return (outcome, queued.unwrap_or_default(), active);
        }
    }

    async fn read_on(
        &self,
        pooled: &mut Pooled,
        doing: &str,
        statement: &Arc<str>,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let client = pooled.client()?;
        self.verify(client).await?;
        client.query(doing, statement, params).await
    }

    /// Decodes the row of the stack as this store reads it.
    pub(crate) fn decode(&self, row: Option<&Row>) -> Result<StackRow> {
        match row {
            Some(row) => StackRow::decode(row),
            None => Err(match &self.role {
                Role::Owner { opening, .. } => opening.check(None).err().unwrap_or_else(Error::closed),
                Role::Standby(_) => dropped(),
            }),
        }
    }
}

const VERIFY: &str = "read the stack";

fn is_standby() -> Error {
    Error::new(
        ErrorKind::Standby,
        "the stack is open as a standby, which only reads; nothing has changed. Promote it first",
    )
}

fn dropped() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "the stack was dropped; memory still shows what it was. Open the standby again when there is a new one",
    )
}
