use std::{sync::Arc, thread};

use rusqlite::Connection;
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    connection::{
        limit::{Cap, Granted},
        settings::Settings,
    },
    error::failed,
    ownership::presence::Presence,
};

/// Connections of one store for reading, opened when they are wanted and closed when they are not.
///
/// A pool of our own, because no other one shares a bound with others. It keeps no thread, and none of it
/// is locked while a connection is opened or closed.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Seat>);

struct Seat {
    id: u64,
    cap: Arc<Cap>,
    settings: Settings,
    _presence: Option<Arc<Presence>>,
}

impl Pool {
    pub(crate) fn new(settings: Settings, cap: Arc<Cap>, presence: Option<Arc<Presence>>) -> Self {
        let id = cap.enter(settings.options.max_readers);
        Self(Arc::new(Seat { id, cap, settings, _presence: presence }))
    }

    pub(crate) fn get(&self) -> Result<Pooled> {
        let Seat { id, cap, settings, .. } = &*self.0;
        let connection = match cap.take(*id, settings.options.checkout_timeout) {
            Some(Granted::Idle(connection)) => connection,
            Some(Granted::Place) => settings.open_reader().map_err(|error| {
                cap.free(*id);
                failed("open a reading connection")(error)
            })?,
            None => {
                let message = "no reading connection became free within the check-out time-out; nothing is \
                               lost. Drop scans soon, or allow more `readers` (and connections, if there is \
                               a cap)";
                return Err(Error::new(ErrorKind::Busy, message));
            }
        };
        Ok(Pooled { connection: Some(connection), broken: false, seat: Arc::clone(&self.0) })
    }

    /// Closes the connections that are not in use. They are closed by themselves when they were idle for
    /// long; this is for those who do not want to wait.
    pub(crate) fn close_idle(&self) {
        self.0.cap.close_idle(self.0.id);
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        self.0.cap.open(self.0.id)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.cap.leave(self.id);
    }
}

/// A connection of the pool that is in use. It is given back when this is dropped.
pub(crate) struct Pooled {
    /// Taken out when it is given back.
    connection: Option<Connection>,
    /// It met a failure after which it should not be used.
    pub(crate) broken: bool,
    seat: Arc<Seat>,
}

impl Pooled {
    pub(crate) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it has not been given back")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Seat { id, cap, settings, .. } = &*self.seat;
        match self.connection.take() {
            Some(connection) if !self.broken && !thread::panicking() => {
                cap.put(*id, connection, settings.options.idle_timeout);
            }
            broken => {
                drop(broken);
                cap.free(*id);
            }
        }
    }
}
