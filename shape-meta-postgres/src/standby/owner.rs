use std::time::Duration;

use shape_meta_core::{Error, Result};

use super::PostgresStandby;
use crate::{format::row, ownership::owner::LiveOwner};

/// The process that owns a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackOwner {
    /// Where other processes reach it: what its [`PoolOptions::address`](crate::PoolOptions::address) says.
    pub address: String,
    /// The name of its host.
    pub host: String,
    /// The number of its process.
    pub process: u32,
    /// Its epoch. A later owner has a higher one.
    pub epoch: u64,
    /// How much longer its lease lasts if it is not renewed, by the clock of the server.
    pub lease: Duration,
}

impl PostgresStandby {
    /// Returns the live owner of the stack, so that a service can forward mutations to it; `None` if it was
    /// closed, or its lease has run out. A round trip to the server.
    ///
    /// # Errors
    ///
    /// Those of the server.
    pub fn owner_info(&self) -> Result<Option<StackOwner>> {
        let store = self.current();
        let statement = &store.stack.statements.owner;
        let operation = crate::connection::operation::Operation::Owner;
        let rows = store.read(operation, "read the owner", statement, Vec::new())?;
        let Some(found) = rows.first() else {
            return Err(store.stack.decode(None).err().unwrap_or_else(Error::closed));
        };
        let epoch = row::int8(found, 0)?.cast_unsigned();
        Ok(LiveOwner::decode(found, 1)?.map(|owner| StackOwner {
            address: owner.address,
            host: owner.host,
            process: owner.pid,
            epoch,
            lease: owner.remaining,
        }))
    }
}
