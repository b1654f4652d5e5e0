//! Signals that end the command.

/// Starts a thread that deletes the temporary files before a signal ends the command. Without it a copy of a
/// database would stay behind.
#[cfg(unix)]
pub(crate) fn delete_temporary_files() {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        iterator::Signals,
        low_level::emulate_default_handler,
    };
    // Without the thread the command works, and only its temporary files outlive a signal.
    let ignored = ignored_signals();
    let ends = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let Ok(mut signals) = Signals::new(ends) else { return };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            shape_meta_sqlite::remove_temporary_files();
            let _ = emulate_default_handler(signal);
        }
    });
}

/// Returns the signals that the command was started to ignore, as bits: by `nohup`, or in the background of a
/// script. They stay ignored. Only Linux says so without a call to the C library.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// The system has no signals.
#[cfg(not(unix))]
pub(crate) fn delete_temporary_files() {}
