use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// The file that says which slot the logs follow, and up to where they are durable.
pub(crate) struct PositionFile(pub(crate) PathBuf);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) slot: String,
    /// Everything up to here is durable, and no slot was allowed to forget more. A slot that is ahead of it
    /// belongs to newer files: these are a backup.
    pub(crate) durable: u64,
}

impl PositionFile {
    /// Returns the position; `None` if there is none, or it is not readable as one.
    pub(crate) fn read(&self) -> io::Result<Option<Position>> {
        match fs::read(&self.0) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the position, in one step and durably.
    pub(crate) fn write(&self, position: &Position) -> io::Result<()> {
        let next = self.0.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec(position)?)?;
        file.sync_data()?;
        fs::rename(&next, &self.0)?;
        match self.0.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}
