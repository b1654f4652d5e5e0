use std::fs;

use shape_meta_core::{Result, Timestamp};

use super::Inspector;
use crate::format::{query::one, row, sql};

/// Who owns a database, as far as a stranger can see.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Owner {
    /// The process that owned it last.
    pub process: Option<u32>,
    /// The machine on which it ran; empty where that could not be told.
    pub host: Option<String>,
    /// When it has taken ownership.
    pub since: Option<Timestamp>,
    /// Whether it still has it, on this machine; `None` where the system does not say.
    pub is_live: Option<bool>,
}

impl Inspector {
    /// Who owns the database. Takes no lock: that could keep an owner that is just opening it out.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn owner(&self) -> Result<Owner> {
        let noted = one(&self.connection, sql::OWNER, [], |found| {
            let since = Timestamp::from_micros(row::integer(found, 2)?.cast_unsigned());
            Ok((u32::try_from(row::integer(found, 0)?).ok(), row::text(found, 1)?, since))
        })?;
        let (process, host, since) = match noted {
            Some((process, host, since)) => (process, Some(host), Some(since)),
            None => (None, None, None),
        };
        Ok(Owner { process, host, since, is_live: is_locked(&self.files.lock()) })
    }
}

/// More than are needed where thousands of locks come and go.
#[cfg(target_os = "linux")]
const READINGS: usize = 16;

/// Whether somebody holds the lock on this file, as the kernel lists it.
#[cfg(target_os = "linux")]
fn is_locked(path: &std::path::Path) -> Option<bool> {
    use std::os::linux::fs::MetadataExt;
    let inode = match fs::metadata(path) {
        Ok(metadata) => format!(":{} ", metadata.st_ino()),
        Err(_) => return Some(false),
    };
    // The kernel tells them a page at a time, and skips one wherever another has gone meanwhile. So what was not
    // seen is looked for again; what is seen is there.
    for _ in 0..READINGS {
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
