use std::{fs, io, path::Path};

/// The identity of a file, by device and inode: another file under the same name has another identity. On
/// systems without inodes all identities are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId(Option<(u64, u64)>);

impl FileId {
    /// Returns the identity of the file that has this name. Does not open it.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self(of(&metadata)))
    }

    /// Returns the identity and the size of the file that has this name. Does not open it.
    pub(crate) fn and_size_at(path: &Path) -> io::Result<(Self, u64)> {
        fs::metadata(path).map(|metadata| (Self(of(&metadata)), metadata.len()))
    }

    /// Whether the system has identities of files.
    pub(crate) fn is_known(self) -> bool {
        self.0.is_some()
    }

    /// Returns the identity of an open file.
    pub(crate) fn of(file: &fs::File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self(of(&metadata)))
    }
}

#[cfg(unix)]
fn of(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn of(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}
