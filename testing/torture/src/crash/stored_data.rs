//! The stored data of shapes (C12): a directory for each handle, with a file for each add.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
};

use shape_meta::{BoxError, Handle, Seq, ShapeCleaner, StoredHandles};

/// A directory with the stored data of shapes. The store's cleaner alone deletes from it.
pub(super) struct StoredData(pub(super) PathBuf);

impl StoredData {
    /// Creates the data of a shape that was just added. Data of an earlier shape with its handle may still be
    /// there.
    pub(super) fn create(&self, handle: &Handle, created: Seq) -> io::Result<()> {
        let directory = self.0.join(handle.file_name().map_err(io::Error::other)?);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(created.to_string()), b"")
    }

    /// Returns the stored handles, each with the sequence numbers of the adds whose data is there.
    pub(super) fn adds(&self) -> io::Result<BTreeMap<Handle, BTreeSet<u64>>> {
        let mut stored = BTreeMap::new();
        for directory in fs::read_dir(&self.0)? {
            let directory = directory?;
            let Some(handle) = Handle::from_file_name(directory.file_name()) else { continue };
            let mut adds = BTreeSet::new();
            for file in fs::read_dir(directory.path())? {
                adds.extend(file?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
            }
            stored.insert(handle, adds);
        }
        Ok(stored)
    }
}

impl ShapeCleaner for StoredData {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
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
