use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Header,
    frame::{self, Head},
};

/// The end of a log, for the one thread that appends to it.
///
/// It holds no open file: a service has more shapes than a process may open files.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    /// The end of the last whole frame.
    end: u64,
    last_transaction: u64,
}

impl LogWriter {
    /// Creates a log, over what a former shape with the same handle may have left.
    pub(crate) fn create(path: &Path, header: &Header) -> io::Result<Self> {
        File::create(path)?;
        let mut writer = Self { path: path.to_owned(), end: 0, last_transaction: 0 };
        writer.append(0, &serde_json::to_vec(header)?)?;
        Ok(writer)
    }

    /// Opens a log after a restart, and cuts off a frame that was not written completely. Reads all of it.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it has no header, and those of the disk.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Header)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let header = super::read::header(&file)?;
        let (length, mut end, mut last_transaction) = (file.metadata()?.len(), 0, 0);
        while let Some(head) = Head::read(&file, end, length)? {
            if head.payload(&file, end)?.is_none() {
                break;
            }
            end += head.frame_length();
            last_transaction = head.transaction;
        }
        file.set_len(end)?;
        Ok((Self { path: path.to_owned(), end, last_transaction }, header))
    }

    /// Returns the last transaction in the log; 0 if it has only a snapshot.
    pub(crate) fn last_transaction(&self) -> u64 {
        self.last_transaction
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Appends a frame. It is safe from the end of this process when this returns, and from a power loss
    /// after [`sync`].
    ///
    /// # Errors
    ///
    /// Those of the disk. The frame is not in the log then, and the call can be repeated.
    pub(crate) fn append(&mut self, transaction: u64, payload: &[u8]) -> io::Result<()> {
        let frame = frame::encode(transaction, payload)?;
        // The part of a frame that was written before an error is overwritten by the next attempt.
        OpenOptions::new().write(true).open(&self.path)?.write_all_at(&frame, self.end)?;
        self.end += frame.len() as u64;
        self.last_transaction = transaction;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a log durable.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_data()
}
