use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use shape_meta::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::{PositionFile, position::Position};
use crate::{apply::Input, log, metadata::Metadata};

/// The time between two checkpoints.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a checkpoint waits for the metadata.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the applier has done up to a checkpoint.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) slot: Option<Arc<str>>,
    /// Every transaction up to here is in the logs.
    pub(crate) position: u64,
    /// The logs that were appended to since the last checkpoint.
    pub(crate) logs: HashMap<Handle, PathBuf>,
}

/// A slot, and the position up to which it may forget the changes.
pub(crate) type Durable = (Arc<str>, u64);

/// Makes durable what was applied, and lets the slot forget it: every second, and at the end.
pub(crate) struct Checkpoints {
    pub(crate) positions: Arc<PositionFile>,
    pub(crate) metadata: Metadata,
    pub(crate) input: mpsc::Sender<Input>,
    pub(crate) durable: watch::Sender<Option<Durable>>,
    /// Logs that a failed checkpoint has left.
    pub(crate) unsynced: HashMap<Handle, PathBuf>,
}

impl Checkpoints {
    /// Runs until `end` is received, with a last checkpoint then, or until this process is fenced.
    pub(crate) async fn run(mut self, mut end: oneshot::Receiver<()>) {
        let mut is_ending = false;
        while !is_ending && !self.metadata.is_fenced() {
            is_ending = tokio::time::timeout(INTERVAL, &mut end).await.is_ok();
            if let Err(failure) = self.checkpoint().await {
                tracing::warn!(failure, "a checkpoint failed; the slot keeps the changes until one succeeds");
            }
        }
    }

    async fn checkpoint(&mut self) -> Result<(), String> {
        let (reply, applied) = oneshot::channel();
        let closed = |_| "the applier has ended".to_owned();
        self.input.send(Input::Checkpoint(reply)).await.map_err(|_| "the applier has ended".to_owned())?;
        let Applied { slot: Some(slot), position, logs } = applied.await.map_err(closed)? else {
            return Ok(());
        };
        self.unsynced.extend(logs);
        let unsynced = std::mem::take(&mut self.unsynced);
        let sync = move || sync(unsynced);
        let failed = tokio::task::spawn_blocking(sync).await.map_err(|error| error.to_string())?;
        for (handle, error) in failed {
            // What the kernel has dropped is not known, so the log cannot be used any more.
            tracing::error!(%handle, %error, "a log could not be synced; its shape is removed");
            self.metadata.remove(&handle).await;
        }
        // A removal that is lost in a crash brings the shape back, without the changes since then in its log.
        // So the slot keeps those changes until the removal is durable.
        self.metadata.durable(TIMEOUT).await?;
        let is_new = self.durable.borrow().as_ref().is_none_or(|known| known.0 != slot || known.1 < position);
        if is_new && position > 0 {
            let (positions, name) = (Arc::clone(&self.positions), slot.as_ref().to_owned());
            let write = move || positions.write(&Position { slot: name, durable: position });
            let written = tokio::task::spawn_blocking(write).await.map_err(|error| error.to_string())?;
            written.map_err(|error| format!("the file of the position: {error}"))?;
            self.durable.send_replace(Some((slot, position)));
        }
        Ok(())
    }
}

fn sync(logs: HashMap<Handle, PathBuf>) -> Vec<(Handle, std::io::Error)> {
    let failed = |(handle, path): (Handle, PathBuf)| match log::sync(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Some((handle, error)),
        _ => None,
    };
    logs.into_iter().filter_map(failed).collect()
}
