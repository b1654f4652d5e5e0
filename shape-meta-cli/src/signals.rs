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
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) else { return };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            shape_meta_sqlite::remove_temporary_files();
            let _ = emulate_default_handler(signal);
        }
    });
}

/// The system has no signals.
#[cfg(not(unix))]
pub(crate) fn delete_temporary_files() {}
