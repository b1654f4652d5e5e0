use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta::{Handle, SnapshotState};
use tokio::sync::{mpsc, oneshot};

use super::shape::{Restart, ShapeLog};
use crate::{
    live::Live,
    log::{self, Header, LogWriter},
    metadata::Metadata,
    replication::{Applied, Transaction},
};

/// How much of the changes during its snapshot a shape keeps in memory, counted in transactions.
const MAX_WAITING: usize = 100_000;
/// The transactions that a new snapshot is compared with.
const RECENT: usize = 4_096;
/// How long an append is repeated. Shapes whose log cannot be written then are removed, which frees the disk.
const MAX_TROUBLE: Duration = Duration::from_secs(10);
/// The delay between two attempts to append.
const RETRY: Duration = Duration::from_millis(100);

const UNREADABLE: Restart = Restart("its metadata cannot be read");

/// What the applier does, in this order.
pub(crate) enum Input {
    /// A stream with this slot follows.
    Slot(Arc<str>),
    Transaction(Arc<Transaction>),
    /// Every transaction up to here was sent.
    Progress(u64),
    Snapshot(Box<SnapshotDone>),
    Checkpoint(oneshot::Sender<Applied>),
}

/// A snapshot that is written and synced.
pub(crate) struct SnapshotDone {
    pub(crate) handle: Handle,
    pub(crate) header: Header,
    pub(crate) log: LogWriter,
}

/// Appends transactions to logs.
pub(crate) struct Applier {
    pub(crate) metadata: Metadata,
    pub(crate) live: Arc<Live>,
    pub(crate) max_log_bytes: u64,
    /// Every transaction up to here is in the logs. Read by requests before they read a log.
    pub(crate) applied: Arc<AtomicU64>,
    pub(crate) state: State,
}

#[derive(Default)]
pub(crate) struct State {
    slot: Option<Arc<str>>,
    shapes: HashMap<Handle, Phase>,
    /// The identifiers and tables of the latest transactions.
    recent: VecDeque<(u32, Vec<u32>)>,
    unsynced: HashMap<Handle, PathBuf>,
    /// Since when appends fail.
    trouble: Option<Instant>,
}

enum Phase {
    /// Its snapshot is being made. The transactions meanwhile wait for it.
    Waiting(Vec<Arc<Transaction>>),
    Ready(Box<ShapeLog>),
}

impl Applier {
    /// Runs until all senders are gone, or the metadata cannot be read.
    pub(crate) fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        while let Some(input) = inputs.blocking_recv() {
            match input {
                Input::Slot(slot) => self.begin(slot),
                Input::Transaction(transaction) => {
                    // A transaction that is left out would be missing in the logs. It comes again after the
                    // next start.
                    if let Err(error) = self.transaction(&transaction) {
                        return tracing::error!(%error, "the shapes of a table are not known");
                    }
                }
                Input::Progress(position) => self.progress(position),
                Input::Snapshot(done) => self.snapshot(*done),
                Input::Checkpoint(reply) => self.checkpoint(reply),
            }
        }
    }

    fn begin(&mut self, slot: Arc<str>) {
        if self.state.slot.as_ref().is_some_and(|known| *known != slot) {
            // All shapes were removed.
            self.state.shapes.clear();
            self.applied.store(0, Ordering::Release);
        }
        self.state.slot = Some(slot);
    }

    fn progress(&self, position: u64) {
        self.applied.fetch_max(position, Ordering::AcqRel);
    }

    fn transaction(&mut self, transaction: &Arc<Transaction>) -> shape_meta::Result<()> {
        // A stream that was opened again repeats transactions.
        if transaction.commit_end <= self.applied.load(Ordering::Acquire) {
            return Ok(());
        }
        let relations = transaction.relations();
        for handle in self.metadata.handles_for(&relations)? {
            let shape = self.state.shapes.remove(&handle);
            let shape = match shape.map_or_else(|| self.load(&handle), |phase| Ok(Some(phase))) {
                Ok(Some(Phase::Ready(mut shape))) => {
                    self.apply(&handle, &mut shape, transaction).map(|()| Some(Phase::Ready(shape)))
                }
                Ok(Some(Phase::Waiting(mut waiting))) if waiting.len() < MAX_WAITING => {
                    waiting.push(Arc::clone(transaction));
                    Ok(Some(Phase::Waiting(waiting)))
                }
                Ok(Some(Phase::Waiting(_))) => Err(Restart("too much has changed during its snapshot")),
                Ok(None) => Ok(None),
                Err(restart) => Err(restart),
            };
            self.keep(handle, shape);
        }
        self.state.recent.push_back((transaction.xid, relations));
        if self.state.recent.len() > RECENT {
            self.state.recent.pop_front();
        }
        self.progress(transaction.commit_end);
        Ok(())
    }

    /// Keeps a shape for the next transaction, or removes one that cannot go on.
    fn keep(&mut self, handle: Handle, shape: Result<Option<Phase>, Restart>) {
        match shape {
            Ok(Some(phase)) => {
                self.state.shapes.insert(handle, phase);
            }
            // A snapshot that ends after its shape was removed may have made the log again.
            Ok(None) => drop(fs::remove_file(self.metadata.log_path(&handle))),
            Err(Restart(why)) => {
                tracing::info!(%handle, why, "a shape is made again");
                self.metadata.remove_blocking(&handle);
            }
        }
    }

    /// Returns a shape of which nothing was applied yet; `None` if it was removed meanwhile.
    fn load(&self, handle: &Handle) -> Result<Option<Phase>, Restart> {
        match self.metadata.snapshot_state(handle).map_err(|_| UNREADABLE)? {
            None => Ok(None),
            Some(SnapshotState::Complete) => {
                let definition = self.metadata.definition(handle).map_err(|_| UNREADABLE)?;
                let Some(definition) = definition else { return Ok(None) };
                let (log, header) = LogWriter::open(&self.metadata.log_path(handle))
                    .map_err(|_| Restart("its log cannot be read"))?;
                self.check_slot(&header)?;
                Ok(Some(Phase::Ready(Box::new(ShapeLog::new(definition, header, log)?))))
            }
            Some(_) => Ok(Some(Phase::Waiting(Vec::new()))),
        }
    }

    fn check_slot(&self, header: &Header) -> Result<(), Restart> {
        match &self.state.slot {
            Some(slot) if **slot == *header.slot => Ok(()),
            _ => Err(Restart("its changes were in a slot that is gone")),
        }
    }

    fn apply(
        &mut self,
        handle: &Handle,
        shape: &mut ShapeLog,
        transaction: &Transaction,
    ) -> Result<(), Restart> {
        let messages = shape.messages(transaction)?;
        if messages.is_empty() {
            return Ok(());
        }
        while let Err(error) = shape.append(transaction.commit_end, &messages) {
            let since = *self.state.trouble.get_or_insert_with(|| {
                tracing::error!(%handle, %error, "a log cannot be written; it is tried again");
                Instant::now()
            });
            if since.elapsed() > MAX_TROUBLE || !self.metadata.is_live(handle) {
                return Err(Restart("its log cannot be written"));
            }
            std::thread::park_timeout(RETRY);
        }
        self.state.trouble = None;
        if shape.log.bytes() > self.max_log_bytes {
            return Err(Restart("its log is too long"));
        }
        self.state.unsynced.insert(handle.clone(), shape.log.path().to_owned());
        self.live.changed(handle);
        Ok(())
    }

    fn snapshot(&mut self, SnapshotDone { handle, header, log }: SnapshotDone) {
        let waiting = match self.state.shapes.remove(&handle) {
            Some(Phase::Waiting(waiting)) => waiting,
            _ => Vec::new(),
        };
        let shape = self.complete(&handle, header, log, &waiting);
        self.keep(handle, shape);
    }

    /// Applies what has waited for the snapshot, and lets the shape be served.
    fn complete(
        &mut self,
        handle: &Handle,
        header: Header,
        log: LogWriter,
        waiting: &[Arc<Transaction>],
    ) -> Result<Option<Phase>, Restart> {
        self.check_slot(&header)?;
        let definition = self.metadata.definition(handle).map_err(|_| UNREADABLE)?;
        let Some(definition) = definition else { return Ok(None) };
        // The stream may send a transaction just before queries see it. Such a transaction is neither in the
        // snapshot nor among those that have waited if it came before the shape was added.
        let is_missed = |(xid, relations): &(u32, Vec<u32>)| {
            relations.contains(&definition.table.oid)
                && !header.snapshot.shows(*xid)
                && !waiting.iter().any(|transaction| transaction.xid == *xid)
        };
        if self.state.recent.iter().any(is_missed) {
            return Err(Restart("its snapshot was made during a commit"));
        }
        let mut shape = ShapeLog::new(definition, header, log)?;
        for transaction in waiting {
            self.apply(handle, &mut shape, transaction)?;
        }
        // A checkpoint in progress may let the slot forget those transactions once the shape is complete.
        if !waiting.is_empty() {
            log::sync(shape.log.path()).map_err(|_| Restart("its log cannot be synced"))?;
        }
        if let Err(failure) = self.metadata.mark_complete(handle) {
            tracing::warn!(%handle, %failure, "a snapshot could not be recorded");
            return Err(Restart("its snapshot could not be recorded"));
        }
        Ok(Some(Phase::Ready(Box::new(shape))))
    }

    fn checkpoint(&mut self, reply: oneshot::Sender<Applied>) {
        let Self { state, metadata, live, .. } = self;
        state.shapes.retain(|handle, _| metadata.is_live(handle));
        live.forget_unused();
        let logs = std::mem::take(&mut state.unsynced);
        let position = self.applied.load(Ordering::Acquire);
        // A checkpoint that was given up has left its logs to no one, so the next one has them again.
        if let Err(Applied { logs, .. }) = reply.send(Applied { slot: state.slot.clone(), position, logs }) {
            self.state.unsynced = logs;
        }
    }
}
