use std::fs;

use super::Inspector;

/// Who owns a database, as far as a stranger can see.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Owner {
    /// The process that owned it last.
    pub process: Option<u32>,
    /// Whether it still does; `None` where the system does not say.
    pub is_live: Option<bool>,
}

impl Inspector {
    /// Who owns the database. Takes no lock: that could keep an owner that is just opening it out.
    pub fn owner(&self) -> Owner {
        let path = self.files.lock();
        let process = fs::read_to_string(&path).ok().and_then(|text| {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        Owner { process, is_live: is_locked(&path) }
    }
}

/// Whether somebody holds the lock on this file, as the kernel lists it.
#[cfg(target_os = "linux")]
fn is_locked(path: &std::path::Path) -> Option<bool> {
    use std::os::linux::fs::MetadataExt;
    let inode = match fs::metadata(path) {
        Ok(metadata) => format!(":{} ", metadata.st_ino()),
        Err(_) => return Some(false),
    };
    let locks = fs::read_to_string("/proc/locks").ok()?;
    Some(locks.lines().any(|line| line.contains(" FLOCK ") && line.contains(&inode)))
}

#[cfg(not(target_os = "linux"))]
fn is_locked(_: &std::path::Path) -> Option<bool> {
    None
}
