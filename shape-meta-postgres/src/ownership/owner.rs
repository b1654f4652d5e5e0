use std::{env, fs, time::Duration};

use shape_meta_core::{Error, ErrorKind, Result};
use tokio_postgres::Row;

use crate::format::row;

/// The owner of a stack whose lease has not run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveOwner {
    /// Where other processes reach it; may be empty.
    pub(crate) address: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// How much longer the lease lasts, by the clock of the server, if it is not renewed.
    pub(crate) remaining: Duration,
}

impl LiveOwner {
    pub(crate) fn this_process(remaining: Duration) -> Self {
        Self { address: String::new(), host: host(), pid: std::process::id(), remaining }
    }

    /// Decodes address, host, process, and the rest of the lease in seconds, from column `at` on. `None`
    /// without an owner, and if its lease has run out.
    pub(crate) fn decode(found: &Row, at: usize) -> Result<Option<Self>> {
        let (Some(address), Some(host), Some(pid), Some(remaining)) = (
            row::optional_text(found, at)?,
            row::optional_text(found, at + 1)?,
            row::optional_int8(found, at + 2)?,
            row::optional_float8(found, at + 3)?,
        ) else {
            return Ok(None);
        };
        let remaining = Duration::try_from_secs_f64(remaining).unwrap_or_default();
        let pid = u32::try_from(pid).unwrap_or_default();
        let owner = Self { address: address.to_owned(), host: host.to_owned(), pid, remaining };
        Ok((!remaining.is_zero()).then_some(owner))
    }

    /// Returns the error of an open that does not fence it.
    pub(crate) fn already_open(&self, stack: &str) -> Error {
        let address = match self.address.as_str() {
            "" => String::new(),
            address => format!(" at {address}"),
        };
        Error::new(
            ErrorKind::AlreadyOpen,
            format!(
                "stack {stack:?} is open in process {} on host {:?}{address}, whose lease lasts {:.1?} if it is not \
                 renewed; nothing has changed. Close it there, wait for it (`OnLiveOwner::Wait`), or take it over \
                 (`OnLiveOwner::Fence`)",
                self.pid, self.host, self.remaining
            ),
        )
    }
}

/// Returns the name of this host, or an empty string where it cannot be read without a call to the C library.
/// For operators; nothing depends on it.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| env::var("HOSTNAME").ok()).or_else(|| env::var("COMPUTERNAME").ok());
    name.unwrap_or_default().trim().replace('\0', "")
}
