//! Root becomes the owner of the directory that a command works in.
//!
//! The owner of a directory can put links and other files under each name in it at any time. Root would
//! follow them: to write, to give away or to read files of the whole system. A process of that owner can do
//! only what the owner can do.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{args::Command, exit::Failure};

/// Becomes the owner of the directory of the command, if this process is root's and the directory is not.
/// Call it before another thread is started.
///
/// # Errors
///
/// If the process may not become that user.
pub(crate) fn drop_to_owner(command: &Command) -> Result<(), Failure> {
    let Some(directory) = working_directory(command) else { return Ok(()) };
    become_owner_of(&directory).map_err(Failure::io(format!(
        "become the owner of {}, as root does for its own protection; run the command as that user",
        directory.display()
    )))
}

/// Returns the directory in which a command works: that of the database. A backup into a directory that only
/// root can change is root's own, and a stack in PostgreSQL has none.
fn working_directory(command: &Command) -> Option<PathBuf> {
    match command {
        Command::Completions { .. } | Command::Man { .. } => None,
        #[cfg(feature = "postgres")]
        Command::Stacks { .. } => None,
        Command::Backup { database, to, .. } => {
            // Its owner creates what is missing.
            let target = to.ancestors().map(named).find(|path| path.exists());
            let is_roots = target.is_some_and(|target| is_roots_alone(&target));
            (!is_roots).then(|| database.directory.clone())
        }
        Command::Explain { database } | Command::Repair { database, .. } => Some(database.directory.clone()),
        Command::Inspect { database, .. }
        | Command::List { database, .. }
        | Command::Show { database, .. }
        | Command::Verify { database, .. }
        | Command::Export { database, .. }
        | Command::Import { database, .. }
        | Command::Orphans { database, .. } => {
            // With `--url` the argument in the place of DIRECTORY is another one.
            #[cfg(feature = "postgres")]
            if database.server.url.is_some() {
                return None;
            }
            database.directory.clone()
        }
    }
}

fn named(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::linux::fs::MetadataExt;

    use rustix::{
        process::{Gid, Uid, geteuid},
        thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
    };

    use super::{Path, io};

    /// Whether no other user than root can create a name in this directory.
    pub(super) fn is_roots_alone(directory: &Path) -> bool {
        directory.metadata().is_ok_and(|metadata| metadata.st_uid() == 0 && metadata.st_mode() & 0o022 == 0)
    }

    pub(super) fn become_owner_of(directory: &Path) -> io::Result<()> {
        // What is missing is created or reported later.
        let Ok(found) = directory.metadata() else { return Ok(()) };
        if !geteuid().is_root() || is_roots_alone(directory) {
            return Ok(());
        }
        // By itself, not what a link leads to: such a name is refused later.
        let database = directory.join("shape-meta.sqlite3").symlink_metadata().ok();
        let database = database.filter(|database| database.is_file() && database.st_nlink() == 1);
        // In a directory that root shares with a group, the service is the owner of the file.
        let user = match (found.st_uid(), &database) {
            (0, Some(database)) => database.st_uid(),
            (user, _) => user,
        };
        if user == 0 {
            return Ok(());
        }
        // So that the file keeps its group.
        let group_of_file = database.filter(|database| database.st_uid() == user);
        let groups: Vec<_> = group_of_file.iter().map(|database| Gid::from_raw(database.st_gid())).collect();
        let group = Gid::from_raw(found.st_gid());
        let user = Uid::from_raw(user);
        // The calls change this thread alone. It is the only one, and later ones take after it.
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
use linux::{become_owner_of, is_roots_alone};

/// Other systems change the user of a process only through the C library.
#[cfg(not(target_os = "linux"))]
fn become_owner_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn is_roots_alone(_: &Path) -> bool {
    false
}
