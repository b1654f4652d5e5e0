use std::time::Duration;

use shape_meta_core::{
    Result, StampCheck,
    store_parts::{OnLiveOwner, StopHandle},
};

use crate::{DiskIndexes, Durability, config::SchemaName};

/// Options of a [`PostgresStore`](crate::PostgresStore).
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub(crate) schema: String,
    pub(crate) durability: Durability,
    pub(crate) disk_indexes: DiskIndexes,
    pub(crate) cleanup_tasks: bool,
    pub(crate) last_reads: bool,
    pub(crate) scan_timeout: Duration,
    pub(crate) stamp: Option<StampCheck>,
    pub(crate) on_live_owner: OnLiveOwner,
    pub(crate) stop: Option<StopHandle>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: "shape_meta".into(),
            durability: Durability::default(),
            disk_indexes: DiskIndexes::default(),
            cleanup_tasks: true,
            last_reads: true,
            scan_timeout: Duration::from_secs(300),
            stamp: None,
            on_live_owner: OnLiveOwner::default(),
            stop: None,
        }
    }
}

impl PostgresOptions {
    /// Sets the schema that holds the tables, of all stacks that name it. Default `shape_meta`. It is created
    /// if it is missing, which takes the privilege `CREATE` on the database.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Sets the failures that a committed change survives. Default [`Durability::FailOver`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets which look-ups the database answers. Default [`DiskIndexes::Maintained`]; choose
    /// [`DiskIndexes::Omitted`] under a cache that mirrors all look-ups. Each stack has its own choice, and
    /// an open that changes it builds or deletes the rows.
    pub fn disk_indexes(mut self, disk_indexes: DiskIndexes) -> Self {
        self.disk_indexes = disk_indexes;
        self
    }

    /// Sets whether a removed shape leaves a cleanup task in the database, until the deletion of its stored
    /// data is [acknowledged](crate::PostgresStore::ack_cleanup) (C12). Default true. Set it to false only if
    /// no data is stored for shapes; existing tasks stay as they are.
    pub fn cleanup_tasks(mut self, cleanup_tasks: bool) -> Self {
        self.cleanup_tasks = cleanup_tasks;
        self
    }

    /// Sets whether the store keeps last-read times itself, in memory: about 50 bytes for every shape that is
    /// read. Default true; turn it off under a cache, which keeps them in its entries.
    pub fn last_reads(mut self, keep: bool) -> Self {
        self.last_reads = keep;
        self
    }

    /// Sets what an open does if a live process owns the stack: one whose lease has not run out. Default
    /// [`OnLiveOwner::Fail`].
    pub fn on_live_owner(mut self, on_live_owner: OnLiveOwner) -> Self {
        self.on_live_owner = on_live_owner;
        self
    }

    /// Sets a handle that ends the wait of [`OnLiveOwner::Wait`], within a second. Default: none, so that the
    /// wait ends with its time-out.
    pub fn stop_handle(mut self, handle: &StopHandle) -> Self {
        self.stop = Some(handle.clone());
        self
    }

    /// Returns whether there is a [`stop_handle`](Self::stop_handle).
    pub fn has_stop_handle(&self) -> bool {
        self.stop.is_some()
    }

    /// Returns whether an open waits for a live owner.
    pub fn waits_for_live_owner(&self) -> bool {
        matches!(self.on_live_owner, OnLiveOwner::Wait(_))
    }

    /// Sets how long a scan may stay open. Default 5 minutes. An open scan holds a connection and a snapshot,
    /// which keeps the server from removing dead rows of all its databases' tables. A scan that takes longer
    /// ends with an `Interrupted` error.
    pub fn scan_timeout(mut self, timeout: Duration) -> Self {
        self.scan_timeout = timeout.clamp(Duration::from_millis(1), super::pool_options::LONGEST);
        self
    }

    /// Sets the stamp of the application, and what an open does with a stack that has another one: it is
    /// kept, refused, emptied through the cleaner, or re-keyed. Default: none; then the stack keeps its
    /// stamp, and nothing is compared.
    ///
    /// A re-key reads and writes every shape in one transaction, so a crash undoes it, and the next open
    /// begins anew. Meanwhile no other process can become the owner, not even by force: an open fails with
    /// `Busy`, or goes on waiting. The function of the application has the
    /// [time-out of transactions](super::PoolOptions::transaction_timeout) for a page, which is about a
    /// megabyte of shapes.
    pub fn stamp(mut self, check: StampCheck) -> Self {
        self.stamp = Some(check);
        self
    }

    pub(crate) fn schema_name(&self) -> Result<SchemaName> {
        SchemaName::new(&self.schema)
    }
}
