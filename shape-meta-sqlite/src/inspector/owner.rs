use shape_meta_core::{Result, Timestamp};

use super::Inspector;
use crate::{
    format::{query::one, row, sql},
    ownership::{
        lock::{self, OwnerLiveness},
        owner,
    },
    read::last_reads,
};

/// Owner of a database, as seen from outside of its process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Owner {
    /// Process id of the latest owner.
    pub process: Option<u32>,
    /// Host of the latest owner; empty if its name was not available.
    pub host: Option<String>,
    /// Time at which the latest owner took ownership. One that is later than now counts as now.
    pub since: Option<Timestamp>,
    /// Whether an owner is alive. `None` where that cannot be known: the lock file cannot be read, its file
    /// system has no locks, or it is free and the latest owner was on another host, whose locks may not reach
    /// this one.
    pub is_live: Option<bool>,
}

impl Inspector {
    /// Returns the latest owner. Asks the owner's lock, for some microseconds; an owner that opens the
    /// database in this moment tries again.
    ///
    /// # Errors
    ///
    /// An error if the database cannot be read.
    pub fn owner(&self) -> Result<Owner> {
        let row = one(&self.connection, sql::OWNER, [], |found| {
            let since = last_reads::stored_time(row::integer(found, 2)?, Timestamp::now()).at;
            Ok((u32::try_from(row::integer(found, 0)?).ok(), row::text(found, 1)?, since))
        })?;
        let (process, host, since) = match row {
            Some((process, host, since)) => (process, Some(host), Some(since)),
            None => (None, None, None),
        };
        let is_local = host.as_ref().is_none_or(|host| !host.is_empty() && *host == owner::host());
        let is_live = match lock::liveness(&self.files) {
            OwnerLiveness::Live => Some(true),
            OwnerLiveness::NotLive if is_local => Some(false),
            OwnerLiveness::NotLive | OwnerLiveness::Unknown => None,
        };
        Ok(Owner { process, host, since, is_live })
    }
}
