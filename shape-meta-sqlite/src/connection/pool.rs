use std::{sync::Arc, thread, time::Duration};

use rusqlite::Connection;
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    connection::{
        limit::{Granted, LimitState},
        settings::Settings,
    },
    error::failed,
    ownership::presence::Presence,
};

/// The readers of one store, opened on demand and closed when they are idle.
///
/// No library has pools that share a limit with others, so this pool is our own. It has no thread, and no
/// lock is held while a connection is opened or closed.
#[derive(Clone)]
pub(crate) struct ReaderPool(Arc<Registration>);

/// The registration of a store under its connection limit. Readers in use hold it, too.
struct Registration {
    id: u64,
    limit: Arc<LimitState>,
    settings: Settings,
    _presence: Option<Arc<Presence>>,
}

impl ReaderPool {
    pub(crate) fn new(settings: Settings, limit: Arc<LimitState>, presence: Option<Arc<Presence>>) -> Self {
        let id = limit.register(settings.options.max_readers);
        Self(Arc::new(Registration { id, limit, settings, _presence: presence }))
    }

    /// Returns a reader. Waits for one at most for `timeout`.
    ///
    /// # Errors
    ///
    /// `Busy` if none became free, and the kinds of a failed open.
    pub(crate) fn get(&self, timeout: Duration) -> Result<PooledReader> {
        let Registration { id, limit, settings, .. } = &*self.0;
        let (connection, is_new) = match limit.acquire(*id, timeout) {
            Some(Granted::Idle(connection)) => (connection, false),
            Some(Granted::Permit) => match settings.open_reader() {
                Ok(connection) => (connection, true),
                Err(error) => {
                    limit.release(*id);
                    return Err(failed("open a reader")(error));
                }
            },
            None => {
                let message = format!(
                    "no reader became free within the checkout time-out of {timeout:?}; nothing has changed. \
                     Drop scans earlier, or raise `max_readers` (and the connection limit, if there is one)"
                );
                return Err(Error::new(ErrorKind::Busy, message));
            }
        };
        let registration = Arc::clone(&self.0);
        Ok(PooledReader { connection: Some(connection), is_new, is_broken: false, registration })
    }

    /// Closes the idle readers now, instead of after the idle time-out.
    pub(crate) fn close_idle(&self) {
        self.0.limit.close_idle(self.0.id);
    }

    /// Returns the number of open readers.
    pub(crate) fn open(&self) -> u32 {
        self.0.limit.open_readers(self.0.id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.limit.unregister(self.id);
    }
}

/// A reader in use. It is returned to the pool when this is dropped.
pub(crate) struct PooledReader {
    /// `None` only during the drop.
    connection: Option<Connection>,
    /// Whether it was opened for this use.
    pub(crate) is_new: bool,
    /// Set after a failure that makes the connection unusable: it is closed instead of returned.
    pub(crate) is_broken: bool,
    registration: Arc<Registration>,
}

impl PooledReader {
    pub(crate) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken only by the drop")
    }
}

impl Drop for PooledReader {
    fn drop(&mut self) {
        let Registration { id, limit, settings, .. } = &*self.registration;
        match self.connection.take() {
            Some(connection) if !self.is_broken && !thread::panicking() => {
                limit.put_back(*id, connection, settings.options.idle_timeout);
            }
            broken => {
                drop(broken);
                limit.release(*id);
            }
        }
    }
}
