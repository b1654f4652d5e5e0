//! The thread on which the connections live.
//!
//! The traits of a store are synchronous, and are called from threads and from inside of any runtime. A
//! caller therefore never drives a future: it sends the work to this thread and blocks on a channel, which is
//! allowed everywhere and panics nowhere.

use std::{future::Future, pin::Pin, sync::Arc, thread, time::Duration};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::connection::pool::Connections;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long the end of the runtime waits until the server has received the goodbye of each connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// The number of standbys that are refreshed at the same time.
const BLOCKING_THREADS: usize = 4;

/// A handle of the thread. The thread ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Runtime {
    jobs: flume::Sender<Job>,
}

impl Runtime {
    /// Starts the thread, which also closes the idle connections among these. `open` is disconnected when the
    /// task of the last connection has ended.
    pub(crate) fn start(connections: Arc<Connections>, open: flume::Receiver<()>) -> Result<Self> {
        let cannot_start = |source: std::io::Error| {
            let message = "the thread of the connections could not be started; nothing has changed. Raise the limit \
                           on threads and open files (`ulimit`), and try again";
            Error::new(ErrorKind::Io, message).with_source(source)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Refreshes of standbys.
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(cannot_start)?;
        let (jobs, received) = flume::unbounded::<Job>();
        thread::Builder::new()
            .name("shape-meta-pg".into())
            .spawn(move || {
                runtime.block_on(serve(&connections, received));
                drop(connections);
                runtime.block_on(async {
                    let _ = tokio::time::timeout(FAREWELL, open.recv_async()).await;
                });
            })
            .map_err(cannot_start)?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the thread and blocks until it is done. Every wait in `work` has a time-out.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.begin(work)?.wait()
    }

    /// Runs `work` on the thread, while the caller goes on.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Answer<T>> {
        let (reply, answer) = flume::bounded(1);
        self.spawn(async move {
            let _ = reply.send(work.await);
        })?;
        Ok(Answer(answer))
    }

    /// Runs `work` on the thread without waiting for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.jobs.send(Box::pin(work)).map_err(|_| Error::closed())
    }
}

/// The result of work that runs.
pub(crate) struct Answer<T>(flume::Receiver<Result<T>>);

impl<T> Answer<T> {
    /// Blocks until the work is done.
    pub(crate) fn wait(self) -> Result<T> {
        self.0.recv().unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Panicked,
                "an operation on the database panicked; its connection was given up, and it can be tried again",
            ))
        })
    }
}

/// Runs jobs until the last handle is dropped.
async fn serve(connections: &Connections, jobs: flume::Receiver<Job>) {
    loop {
        let due = tokio::time::Instant::from_std(connections.next_expiry());
        match tokio::time::timeout_at(due, jobs.recv_async()).await {
            Ok(Ok(job)) => drop(tokio::spawn(job)),
            Ok(Err(_)) => return connections.close_idle(),
            Err(_) => connections.close_expired(),
        }
    }
}
