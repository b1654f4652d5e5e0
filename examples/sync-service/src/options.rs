use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use tokio_postgres::config::Host;

use crate::error::Failure;

/// Serves shapes of a PostgreSQL database to Electric's TypeScript client.
#[derive(Parser, Clone, Debug)]
#[command(name = "sync-service")]
pub(crate) struct Options {
    /// The database: a connection string for a user that may create publications and replicate.
    #[arg(long, default_value = "host=127.0.0.1 user=postgres")]
    pub(crate) postgres: tokio_postgres::Config,
    /// The directory of the metadata and of the logs.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Keep the metadata in this database of PostgreSQL, for several nodes. Each has a directory of its own.
    #[arg(long)]
    pub(crate) metadata: Option<String>,
    /// The time in seconds after which another node takes over from one that does not answer.
    #[arg(long, default_value_t = 10)]
    pub(crate) lease: u64,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,
    /// A directory with a page to serve.
    #[arg(long)]
    pub(crate) page: Option<PathBuf>,
    /// The name of the publication.
    #[arg(long, default_value = "sync_service")]
    pub(crate) publication: String,
    /// The beginning of the name of the replication slot.
    #[arg(long, default_value = "sync_service")]
    pub(crate) slot: String,
    /// Keep no metadata in memory that is not on disk: each new shape waits for the disk.
    #[arg(long)]
    pub(crate) direct: bool,
    /// The number of shapes above which the least recently read are removed.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) max_shapes: u64,
    /// The time in seconds since its last read before a shape is removed for others.
    #[arg(long, default_value_t = 60)]
    pub(crate) min_age: u64,
    /// The bytes of a log above which its shape is made again.
    #[arg(long, default_value_t = 1 << 30)]
    pub(crate) max_log_bytes: u64,
    /// The bytes of a response above which it ends, at the end of a transaction.
    #[arg(long, default_value_t = 1 << 20)]
    pub(crate) chunk_bytes: usize,
    /// The time in seconds that a live request waits for changes.
    #[arg(long, default_value_t = 20)]
    pub(crate) live_seconds: u64,
    /// The connections for snapshots and the catalog.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
    /// Let clients delete shapes.
    #[arg(long)]
    pub(crate) allow_delete: bool,
}

impl Options {
    pub(crate) fn live_timeout(&self) -> Duration {
        Duration::from_secs(self.live_seconds)
    }

    /// Returns the host, or the directory of the socket, and the port of the database.
    pub(crate) fn server(&self) -> Result<(String, u16), Failure> {
        let port = self.postgres.get_ports().first().copied().unwrap_or(5432);
        match self.postgres.get_hosts().first() {
            Some(Host::Tcp(host)) => Ok((host.clone(), port)),
            Some(Host::Unix(directory)) => Ok((directory.to_string_lossy().into_owned(), port)),
            None => Err(Failure::Invalid("the connection string names no host".to_owned())),
        }
    }
}
