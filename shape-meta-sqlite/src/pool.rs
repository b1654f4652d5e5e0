use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use r2d2::{HandleError, ManageConnection, NopErrorHandler};
use rusqlite::Connection;
use scheduled_thread_pool::ScheduledThreadPool;
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{connection::Settings, error::failed};

/// Two threads for the pools of every store in this process: they open and close readers, which is rare.
/// Two, so that a disk that hangs in one store does not stop the others.
static THREADS: LazyLock<Arc<ScheduledThreadPool>> = LazyLock::new(|| {
    Arc::new(ScheduledThreadPool::builder().num_threads(2).thread_name_pattern("shape-meta-pool-{}").build())
});

/// r2d2 panics at a time-out of nothing.
const SHORTEST: Duration = Duration::from_millis(1);

/// Connections for reading, opened when they are wanted and closed when they are not.
#[derive(Clone)]
pub(crate) struct Pool {
    pool: r2d2::Pool<Readers>,
    /// Why the latest attempt to open one failed; r2d2 itself tells no more than a text.
    trouble: Arc<Mutex<Option<Error>>>,
}

pub(crate) type Pooled = r2d2::PooledConnection<Readers>;

impl Pool {
    pub(crate) fn new(settings: Settings) -> Self {
        let options = settings.options.clone();
        let trouble = Arc::default();
        let manager = Readers { settings, trouble: Arc::clone(&trouble) };
        let pool = r2d2::Pool::builder()
            .max_size(options.readers)
            .min_idle(Some(0))
            .idle_timeout(Some(options.idle_timeout.max(SHORTEST)))
            .max_lifetime(None)
            .connection_timeout(options.busy_timeout.max(SHORTEST))
            .test_on_check_out(false)
            .error_handler(Box::new(NopErrorHandler) as Box<dyn HandleError<_>>)
            .thread_pool(Arc::clone(&THREADS))
            .build_unchecked(manager);
        Self { pool, trouble }
    }

    pub(crate) fn get(&self) -> Result<Pooled> {
        self.pool.get().map_err(|_| {
            let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            trouble.unwrap_or_else(|| {
                let message = "no reading connection became free within the busy time-out; nothing is lost. \
                               Drop scans soon, or allow more `readers`";
                Error::new(ErrorKind::Busy, message)
            })
        })
    }

    /// Closes the connections that are not in use. r2d2 does so for those that were idle for long, looking
    /// every 30 seconds; this is for those who do not want to wait.
    pub(crate) fn close_idle(&self) {
        for _ in 0..self.pool.state().idle_connections {
            match self.pool.try_get() {
                Some(mut reader) => reader.broken = true,
                None => break,
            }
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        self.pool.state().connections
    }
}

/// A connection of the pool.
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    /// It met a failure after which it should not be used.
    pub(crate) broken: bool,
}

/// The five lines that r2d2 wants.
pub(crate) struct Readers {
    settings: Settings,
    trouble: Arc<Mutex<Option<Error>>>,
}

impl ManageConnection for Readers {
    type Connection = Reader;
    type Error = Error;

    fn connect(&self) -> Result<Reader> {
        let opened = self.settings.open_reader().map_err(failed("open a reading connection"));
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = opened.as_ref().err().cloned();
        Ok(Reader { connection: opened?, broken: false })
    }

    fn is_valid(&self, _: &mut Reader) -> Result<()> {
        Ok(())
    }

    fn has_broken(&self, reader: &mut Reader) -> bool {
        reader.broken
    }
}
