//! The stored data of a tenant: a directory for each shape.

use std::{fs, io, path::PathBuf};

use shape_meta::{BoxError, Handle, ShapeCleaner, StoredHandles};

/// The directories of one tenant's shapes.
#[derive(Clone)]
pub struct Storage(PathBuf);

impl Storage {
    /// Creates the directory of a tenant inside the volume.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Writes the snapshot of a shape. Blocks: disk.
    pub fn write_snapshot(&self, handle: &Handle, content: &[u8]) -> io::Result<()> {
        let directory = self.0.join(handle.file_name().map_err(io::Error::other)?);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("snapshot"), content)
    }
}

impl ShapeCleaner for Storage {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        fs::metadata(&self.0)?;
        for handle in handles {
            match fs::remove_dir_all(self.0.join(handle.file_name()?)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        let entries = fs::read_dir(&self.0)?;
        Ok(Some(Box::new(entries.filter_map(|entry| match entry {
            Ok(entry) => Handle::from_file_name(entry.file_name()).map(Ok),
            Err(error) => Some(Err(error.into())),
        }))))
    }
}
