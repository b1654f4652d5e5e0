use std::fs;

use shape_meta_core::Result;

use crate::{
    connection::settings::Settings,
    error::failed_on,
    format::files::Files,
    open::{fence, links},
    ownership::lock::{LockAttempt, OwnerLock},
};

/// Step 1: a directory whose owner lock this process holds. No other file in it has been read, unless a live
/// owner had to be fenced.
pub(super) struct LockedDirectory<'a> {
    lock: OwnerLock,
    files: &'a Files,
    settings: &'a Settings,
}

impl<'a> LockedDirectory<'a> {
    /// Creates the directory if it is missing, and takes its lock. A live owner is refused, waited for, or
    /// fenced, as the options say.
    pub(super) fn lock(files: &'a Files, settings: &'a Settings) -> Result<Self> {
        let directory = files.directory();
        fs::create_dir_all(directory).map_err(failed_on("create the directory", directory))?;
        links::refuse_lock(files)?;
        let options = &settings.options;
        let stop = options.stop.clone().unwrap_or_default();
        let lock = match OwnerLock::acquire(files, options.mode, options.on_live_owner, &stop)? {
            LockAttempt::Acquired(lock) => lock,
            LockAttempt::MustFence => fence::take_over(files, settings)?,
        };
        Ok(Self { lock, files, settings })
    }

    pub(super) fn into_parts(self) -> (OwnerLock, &'a Files, &'a Settings) {
        (self.lock, self.files, self.settings)
    }
}
