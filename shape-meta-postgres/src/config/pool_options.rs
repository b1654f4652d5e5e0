use std::{error::Error as _, time::Duration};

use shape_meta_core::{Error, ErrorKind, Result};
use tokio_postgres::{Config, config::Host};

use crate::config::Encryption;

/// Longer than any process runs, and short enough to be added to any moment.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
/// The longest time-out that PostgreSQL takes: 24 days.
const LONGEST_OF_SERVER: Duration = Duration::from_millis(i32::MAX as u64);
const SHORTEST: Duration = Duration::from_millis(1);

/// Options of a [`PostgresPool`](crate::PostgresPool).
#[derive(Clone)]
pub struct PoolOptions {
    pub(crate) config: Config,
    pub(crate) encryption: Encryption,
    pub(crate) max_connections: usize,
    pub(crate) checkout_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) transaction_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) address: String,
    pub(crate) poll_interval: Duration,
}

impl PoolOptions {
    /// Parses a connection string: `postgres://user:password@host/database`, or `host=... user=...`. Several
    /// hosts, `sslmode`, `target_session_attrs`, `application_name`, `connect_timeout`, `keepalives_idle` and
    /// `tcp_user_timeout` are among its parameters.
    ///
    /// What it does not mention has these defaults: `application_name=shape-meta`, `connect_timeout=5`
    /// seconds for each host, and a host that is silent is noticed after about 30 seconds:
    /// `keepalives_idle=15`, `keepalives_interval=5`, `keepalives_retries=3`, `tcp_user_timeout=30`.
    ///
    /// # Errors
    ///
    /// `Configuration` if it cannot be parsed.
    pub fn parse(connection: &str) -> Result<Self> {
        let mut config: Config = connection.parse().map_err(|source: tokio_postgres::Error| {
            // The text is not repeated: it may hold a password. Nor is the name of an unknown parameter,
            // which is the second word of a password that should be quoted.
            let names_a_part = source.source().is_some_and(|why| why.to_string().contains("unknown option"));
            let why = if names_a_part { ": it has an unknown parameter" } else { "" };
            let message = format!(
                "the connection string is invalid{why}; write it as postgres://user:password@host/database"
            );
            let error = Error::new(ErrorKind::Configuration, message);
            if names_a_part { error } else { error.with_source(source) }
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let message = "the connection string names no host; write it as \
                           postgres://user:password@host/database";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        // A password with this character that is not encoded: its second half is taken for a host, and would
        // be shown as one.
        let is_misread = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        if config.get_hosts().iter().any(is_misread) {
            let message = "a host in the connection string contains `@`; write `%40` for it in a password";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        if config.get_application_name().is_none() {
            config.application_name("shape-meta");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
            config.keepalives_idle(Duration::from_secs(15));
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(5));
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(30));
        }
        Ok(Self {
            config,
            encryption: Encryption::default(),
            max_connections: 8,
            checkout_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            transaction_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            address: String::new(),
            poll_interval: Duration::from_secs(1),
        })
    }

    /// Sets the password if the connection string has none: for a program that keeps it apart.
    pub fn default_password(mut self, password: impl AsRef<[u8]>) -> Self {
        if self.config.get_password().is_none() {
            self.config.password(password);
        }
        self
    }

    /// Encrypts connections by TLS. Default: plain text.
    ///
    /// # Errors
    ///
    /// `Configuration` if the certificates cannot be used.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, tls: crate::Tls) -> Result<Self> {
        self.encryption = tls.into_encryption()?;
        Ok(self)
    }

    /// Sets the maximum number of connections, at least 2. Default 8. An operation that finds all of them in
    /// use waits. Open scans take all but one at most, so that writes go on.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how long an operation waits for a connection when all are in use, before it fails with `Busy`.
    /// Default 5 seconds.
    pub fn checkout_timeout(mut self, timeout: Duration) -> Self {
        self.checkout_timeout = timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// Sets the time after which an idle connection is closed. Default 60 seconds. The next operation then
    /// connects again, which takes milliseconds.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// Sets how long one statement may run, before the server cancels it and it fails with `Interrupted`.
    /// Default 30 seconds; 24 days at most. If no answer comes for as long again, at least a second and at
    /// most five, the network is taken for broken, and the connection is given up with `Io`.
    ///
    /// It has to be longer than copying the largest batch takes: seconds, for a hundred thousand shapes.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout.clamp(SHORTEST, LONGEST_OF_SERVER);
        self
    }

    /// Sets how long a statement waits for a lock, before it fails with `Busy`. Default 5 seconds.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout.clamp(SHORTEST, LONGEST_OF_SERVER);
        self
    }

    /// Sets after which time without a statement the server ends a transaction of this process
    /// (`idle_in_transaction_session_timeout`). Default 10 seconds. It bounds how long a process that hangs,
    /// or is cut off in mid-transaction, keeps another one from taking its stack over.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout.clamp(SHORTEST, LONGEST_OF_SERVER);
        self
    }

    /// Sets the length of the lease on the stacks that this pool opens, by the clock of the server. Default
    /// 10 seconds; a tenth of a second at least, an hour at most. It is renewed three times in this time, for
    /// all stacks of the pool at once, on a connection of its own, which does not count in
    /// [`max_connections`](Self::max_connections).
    ///
    /// It is how long a stack waits for another owner after its process died. A short one costs statements,
    /// and ends while a server is restarted: then nothing is acknowledged until it is renewed.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(Duration::from_millis(100), Duration::from_secs(3_600));
        self
    }

    /// Sets the address at which other processes reach this one, for
    /// [`PostgresStandby::owner_info`](crate::PostgresStandby::owner_info). Default empty. Nothing connects
    /// to it.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into().replace('\0', "");
        self
    }

    /// Sets how often standbys of this pool look for changes, for all of them in one statement, with some
    /// jitter. Default 1 second; 10 milliseconds at least. Normally a notification arrives first; this is how
    /// late a standby is where there are none (a standby server), or the connection broke.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.clamp(Duration::from_millis(10), LONGEST);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.max_connections < 2 {
            let message = format!(
                "`max_connections` is {}, and a pool needs at least 2, so that writes go on during a scan; set it \
                 to 2 or more",
                self.max_connections
            );
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(())
    }
}

/// Without the password.
impl std::fmt::Debug for PoolOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolOptions")
            .field("config", &self.config)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
