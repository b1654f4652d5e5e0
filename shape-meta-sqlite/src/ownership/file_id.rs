use std::{fs, io, path::Path};

/// What tells a file from another one that has its name now. Nothing is told where the system does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(Option<(u64, u64)>);

impl FileId {
    /// Of the file that has this name. Does not open it.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self(of(&metadata)))
    }

    /// Of a file that is open.
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
