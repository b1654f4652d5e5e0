//! The crash of a process, played within this one.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// The files of a database directory at one moment, while nothing is written: what a kill of the process at
/// that moment leaves.
///
/// They are put back in place, and not copied to another directory: a copy of a database is not trusted to
/// know its stored data (C12).
#[must_use = "the crash happens when the files are put back"]
pub struct Crash {
    directory: PathBuf,
    files: Vec<(OsString, Vec<u8>)>,
}

impl Crash {
    /// Reads the files as they are now.
    pub fn of(directory: &Path) -> Self {
        let files = names(directory)
            // Shared memory is rebuilt, as after every crash.
            .filter(|name| !name.to_string_lossy().ends_with("-shm"))
            .map(|name| (name.clone(), fs::read(directory.join(name)).expect("a file can be read")))
            .collect();
        Self { directory: directory.to_owned(), files }
    }

    /// Undoes everything since then. Every store of the directory must be dropped.
    pub fn restore(self) {
        for name in names(&self.directory) {
            if self.files.iter().all(|(kept, _)| *kept != name) {
                fs::remove_file(self.directory.join(name)).expect("a file can be removed");
            }
        }
        for (name, bytes) in &self.files {
            // The file stays the same one, if it is still there.
            fs::write(self.directory.join(name), bytes).expect("a file can be written");
        }
    }
}

fn names(directory: &Path) -> impl Iterator<Item = OsString> {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    entries.map(|entry| entry.expect("the directory can be read")).filter_map(|entry| {
        entry.file_type().expect("the directory can be read").is_file().then(|| entry.file_name())
    })
}
