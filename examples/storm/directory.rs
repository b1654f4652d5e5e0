use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
};

/// A directory that is removed when it is dropped.
pub(crate) struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    pub(crate) fn create() -> io::Result<Self> {
        let root = env::temp_dir();
        for attempt in 0.. {
            let path = root.join(format!("shape-meta-storm-{}-{attempt}", process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| Self(path)),
            }
        }
        unreachable!("one of the names is free")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("storm: could not remove {}: {error}", self.0.display());
        }
    }
}
