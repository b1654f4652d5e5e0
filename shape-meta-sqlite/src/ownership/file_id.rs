use std::{
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// The identity of a file, by device, inode, and the time of its creation where the file system knows it:
/// another file under the same name has another identity, also if it has been given the inode of the former
/// one. On systems without inodes all identities are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId(Option<(u64, u64, Option<SystemTime>)>);

impl FileId {
    /// Returns the identity of the file that has this name. Does not open it.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self(of(&metadata)))
    }

    /// Returns the identity of what has this name, which is the link itself if it is one.
    pub(crate) fn of_name(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|metadata| Self(of(&metadata)))
    }

    /// Returns the identity and the size of the file that has this name. Does not open it.
    pub(crate) fn and_size_at(path: &Path) -> io::Result<(Self, u64)> {
        fs::metadata(path).map(|metadata| (Self(of(&metadata)), metadata.len()))
    }

    /// Returns the identity of the file that has this metadata.
    pub(crate) fn of_metadata(metadata: &fs::Metadata) -> Self {
        Self(of(metadata))
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
fn of(metadata: &fs::Metadata) -> Option<(u64, u64, Option<SystemTime>)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

#[cfg(not(unix))]
fn of(_: &fs::Metadata) -> Option<(u64, u64, Option<SystemTime>)> {
    None
}

/// When and as what a file was created, on its file system: not the name, and not the content. A file that is
/// renamed keeps it, and a copy has another one. Empty for a database in memory, and as far as the file
/// system does not know.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct FileOrigin(Vec<u8>);

impl FileOrigin {
    /// Returns the origin of the file that has this name. Does not open it.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let mut bytes = Vec::new();
        // Without the device, whose number may change at a restart.
        if let Some((_, inode, _)) = of(&metadata) {
            bytes.extend_from_slice(&inode.to_le_bytes());
        }
        // An inode is soon used again.
        let since = metadata.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        bytes.extend_from_slice(&since.unwrap_or_default().as_nanos().to_le_bytes());
        Ok(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that is removed and put back from a backup often gets the inode that it had.
    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "depends on the file system")]
    fn c13_a_file_with_the_inode_of_a_former_one_has_another_identity() {
        let directory = tempfile::tempdir().expect("it is created");
        let file = directory.path().join("file");
        let create = || {
            fs::write(&file, b"1").expect("it is written");
            let created = fs::metadata(&file).and_then(|metadata| metadata.created());
            (FileId::at(&file).expect("it is there"), created.ok())
        };
        let mut former: Vec<FileId> = Vec::new();
        while former.len() < 20 {
            let (id, Some(created)) = create() else { return };
            assert!(!former.contains(&id), "{id:?} is given twice");
            former.push(id);
            // The clock of a file system may tick only 250 times a second.
            loop {
                fs::remove_file(&file).expect("it is removed");
                if create().1 != Some(created) {
                    break;
                }
            }
            fs::remove_file(&file).expect("it is removed");
        }
    }

    #[test]
    #[cfg_attr(not(unix), ignore = "depends on the file system")]
    fn c12_a_copy_has_another_origin_and_a_renamed_file_has_not() {
        let directory = tempfile::tempdir().expect("it is created");
        let [file, copy, renamed] = ["file", "copy", "renamed"].map(|name| directory.path().join(name));
        fs::write(&file, b"1").expect("it is written");
        fs::copy(&file, &copy).expect("it is copied");
        let origin = FileOrigin::at(&file).expect("it is there");
        assert_ne!(FileOrigin::at(&copy).expect("it is there"), origin);
        fs::write(&file, b"22").expect("it is written");
        fs::rename(&file, &renamed).expect("it is renamed");
        assert_eq!(FileOrigin::at(&renamed).expect("it is there"), origin);
        assert!(FileOrigin::at(&file).is_err());
    }
}
