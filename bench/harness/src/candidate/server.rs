//! The server of the benchmarks over PostgreSQL, and the schemas on it.

use std::{
    fs,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_testing_postgres::{self as testing, Cluster, PASSWORD};

use crate::error::Result;

/// As a small server would be set up. The rest are the defaults of PostgreSQL.
pub(crate) const SETTINGS: &[&str] = &["fsync=on", "shared_buffers=256MB", "max_wal_size=4GB"];
/// The file in a directory that names its schema.
const FILE: &str = "postgres-schema";

/// Returns the server, which is started by the first call and ends with this process. Its data is in the
/// temporary directory of the system.
pub(crate) fn server() -> Result<&'static Cluster> {
    static SERVER: OnceLock<Option<Cluster>> = OnceLock::new();
    let server = SERVER.get_or_init(|| testing::own(SETTINGS)).as_ref();
    Ok(server.ok_or("there is no PostgreSQL: install it (Debian: postgresql)")?)
}

/// The schema of a directory: where a candidate over PostgreSQL keeps its tables. Processes that share the
/// directory share the schema.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The name, which needs no quotes.
    pub name: String,
    /// The port of the server at 127.0.0.1, whose user is `postgres`.
    pub port: u16,
}

impl Schema {
    /// Returns the schema of this directory. Its tables are those that the candidate creates.
    pub fn of(directory: &Path) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if let Some(known) = Self::known(directory)? {
            return Ok(known);
        }
        let name = format!("bench_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let port = server()?.port;
        fs::write(directory.join(FILE), format!("{port} {name}"))?;
        Ok(Self { name, port })
    }

    /// Returns the schema of this directory if it has one.
    pub(crate) fn known(directory: &Path) -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(directory.join(FILE)) else { return Ok(None) };
        let (port, name) = text.split_once(' ').ok_or("the name of a schema is missing")?;
        Ok(Some(Self { name: name.to_owned(), port: port.parse()? }))
    }

    /// Returns the connection string.
    pub fn connection(&self) -> String {
        testing::connection(self.port, PASSWORD)
    }

    /// Returns the size of its tables and indexes in bytes.
    pub(crate) fn size(&self) -> Result<u64> {
        let sum = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r'";
        let sum = format!("{sum} AND relnamespace = '{}'::regnamespace", self.name);
        Ok(server()?.query(&sum)?.parse()?)
    }

    pub(crate) fn remove(&self) -> Result {
        let drop = format!("SET client_min_messages = error; DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        Ok(server()?.query(&drop).map(|_| ())?)
    }
}
