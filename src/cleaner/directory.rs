use std::{
    fs::{self, File},
    io,
    path::{self, Path, PathBuf},
};

use shape_meta_core::{Handle, InvalidHandle};

use crate::{BoxError, ShapeCleaner, StoredHandles};

/// The cleaner of stored data that is one file, or one directory, for each shape, all in one directory.
///
/// The name is [`Handle::file_name`]; [`path_of`](Self::path_of) returns the path. Other names in the
/// directory are left alone.
///
/// The directory must exist, and is never created here: without its volume, a mount point exists and is
/// empty. So create it inside the volume, once, when the volume is set up. While it is missing, the cleaner
/// fails, and is called again later.
///
/// A deletion is synced before it counts, so no power loss brings data back that no shape has and no cleanup
/// task names.
///
#[cfg_attr(feature = "shape", doc = "```")]
#[cfg_attr(not(feature = "shape"), doc = "```ignore")]
/// use std::fs;
/// use shape_meta::{DirectoryCleaner, NewShape, Relation, Shape, ShapeMeta, TableName, prelude::*};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let volume = tempfile::tempdir()?;
/// # fs::create_dir(volume.path().join("shapes"))?;
/// let data = DirectoryCleaner::new(volume.path().join("shapes"))?;
/// let store = ShapeMeta::builder(data.clone()).open(volume.path())?;
///
/// let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510));
/// let shape = NewShape::of(Handle::generate(todos.definition_hash()), &todos);
/// let handle = store.get_or_add(&shape, Wait::No)?.handle;
/// fs::create_dir(data.path_of(&handle)?)?;
///
/// store.remove(handle.as_str(), Wait::No)?;
/// store.close(std::time::Duration::from_secs(10));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryCleaner(PathBuf);

impl DirectoryCleaner {
    /// Names the directory. The path is made absolute here, so a later change of the working directory
    /// changes nothing. Does not look at the disk.
    ///
    /// # Errors
    ///
    /// If the path is empty, or if it is relative and the working directory is unknown.
    pub fn new(directory: impl AsRef<Path>) -> io::Result<Self> {
        path::absolute(directory).map(Self)
    }

    /// Returns the path of the stored data of a shape. Does not look at the disk.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::file_name`].
    pub fn path_of(&self, handle: &Handle) -> Result<PathBuf, InvalidHandle> {
        Ok(self.0.join(handle.file_name()?))
    }
}

impl ShapeCleaner for DirectoryCleaner {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        // What is missing in a directory that is there, is deleted.
        fs::read_dir(&self.0)?;
        for handle in handles {
            remove(&self.path_of(handle)?)?;
        }
        Ok(sync_directory(&self.0)?)
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        let entries = fs::read_dir(&self.0)?;
        Ok(Some(Box::new(entries.filter_map(|entry| match entry {
            Ok(entry) => Handle::from_file_name(entry.file_name()).map(Ok),
            Err(error) => Some(Err(error.into())),
        }))))
    }
}

/// Deletes a file, or a directory with all that is in it, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the deletions in a directory safe from a power loss. On Windows they are in the journal of the file
/// system.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
