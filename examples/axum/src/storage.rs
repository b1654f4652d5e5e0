//! The stored data of a tenant: a directory for each shape, which `DirectoryCleaner` deletes.

use std::{fs, io, path::Path};

use shape_meta::{DirectoryCleaner, Handle};

/// The directories of one tenant's shapes.
#[derive(Clone)]
pub struct Storage(pub DirectoryCleaner);

impl Storage {
    /// Creates the directory of a tenant inside the volume.
    pub fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(DirectoryCleaner::new(path)?))
    }

    /// Writes the snapshot of a shape. Blocks: disk.
    pub fn write_snapshot(&self, handle: &Handle, content: &[u8]) -> io::Result<()> {
        let directory = self.0.path_of(handle).map_err(io::Error::other)?;
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("snapshot"), content)
    }
}
