//! Connections to PostgreSQL for queries.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Client, Config, NoTls};

/// The settings of every session, so that queries and changes print values in the same form.
pub(crate) const SETTINGS: &str = "-c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres \
                                   -c extra_float_digits=1 -c bytea_output=hex -c lock_timeout=10s";

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A bounded pool of connections. A waiting caller gets the next one that is free.
pub(crate) struct Pool {
    config: Config,
    idle: Mutex<Vec<Client>>,
    permits: Semaphore,
}

/// A connection of the pool. One that is dropped is closed; [`Pooled::give_back`] keeps it for the next
/// caller.
pub(crate) struct Pooled<'a> {
    pub(crate) client: Client,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(crate) fn new(config: &Config, connections: usize) -> Self {
        let mut config = config.clone();
        config.options(SETTINGS).application_name("sync-service").connect_timeout(CONNECT_TIMEOUT);
        Self { config, idle: Mutex::default(), permits: Semaphore::new(connections) }
    }

    /// Returns a connection. Waits while all are in use.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached.
    pub(crate) async fn get(&self) -> Result<Pooled<'_>, tokio_postgres::Error> {
        // The semaphore is never closed.
        let Ok(permit) = self.permits.acquire().await else { unreachable!("the semaphore stays open") };
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(client) = idle() {
            if !client.is_closed() {
                return Ok(Pooled { client, pool: self, _permit: permit });
            }
        }
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(Pooled { client, pool: self, _permit: permit })
    }
}

impl Pooled<'_> {
    /// Keeps the connection for the next caller. Not after an error: the state of its transaction is not
    /// known.
    pub(crate) fn give_back(self) {
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.client);
    }
}

/// Returns the message of the server, or that of the connection.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(database), _) => database.message().to_owned(),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
