use std::fs;

use shape_meta_core::{Result, Timestamp};

use super::Inspector;
use crate::format::{query::one, row, sql};

/// Owner of a database, as seen from outside of its process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Owner {
    /// Process id of the latest owner.
    pub process: Option<u32>,
    /// Host of the latest owner; empty if its name was not available.
    pub host: Option<String>,
    /// Time at which the latest owner took ownership.
    pub since: Option<Timestamp>,
    /// Whether a process on this host holds the owner's lock; `None` where the system does not report locks.
    pub is_live: Option<bool>,
}

impl Inspector {
    /// Returns the latest owner. Takes no lock, since a lock could make a concurrent open fail.
    ///
    /// # Errors
    ///
    /// An error if the database cannot be read.
    pub fn owner(&self) -> Result<Owner> {
        let row = one(&self.connection, sql::OWNER, [], |found| {
            let since = Timestamp::from_micros(row::integer(found, 2)?.cast_unsigned());
            Ok((u32::try_from(row::integer(found, 0)?).ok(), row::text(found, 1)?, since))
        })?;
        let (process, host, since) = match row {
            Some((process, host, since)) => (process, Some(host), Some(since)),
            None => (None, None, None),
        };
        Ok(Owner { process, host, since, is_live: is_locked(&self.files.lock()) })
    }
}

/// Limit on reads of `/proc/locks`. Enough with thousands of locks that come and go.
#[cfg(target_os = "linux")]
const MAX_READS: usize = 16;

/// Returns whether any process holds a lock on the file, according to the kernel's list.
#[cfg(target_os = "linux")]
fn is_locked(path: &std::path::Path) -> Option<bool> {
    use std::os::linux::fs::MetadataExt;
    let inode = match fs::metadata(path) {
        Ok(metadata) => format!(":{} ", metadata.st_ino()),
        Err(_) => return Some(false),
    };
    // The kernel lists locks a page at a time, and skips one if an earlier one was released meanwhile. So a
    // missing lock is looked up again; a listed one exists.
    for _ in 0..MAX_READS {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        if locks.lines().any(|line| line.contains(" FLOCK ") && line.contains(&inode)) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(not(target_os = "linux"))]
fn is_locked(_: &std::path::Path) -> Option<bool> {
    None
}
