use std::{env, fs};

/// Returns the name of this host, or an empty string where it cannot be read without a call to the C library.
/// For operators; nothing depends on it.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| env::var("HOSTNAME").ok()).or_else(|| env::var("COMPUTERNAME").ok());
    name.unwrap_or_default().trim().replace('\0', "")
}
