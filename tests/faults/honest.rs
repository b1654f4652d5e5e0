//! What a fault of the disk may look like, and what it must not.

use std::{fs, path::Path};

use shape_meta::{Degradation, Error, ErrorKind, HealthState, Remedy, ShapeMeta, StoreControl};

/// A fault of the disk is told as one: it can be tried again, and is no damage.
#[track_caller]
pub(super) fn honest(error: &Error) {
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Io
                | ErrorKind::StorageFull
                | ErrorKind::Busy
                | ErrorKind::ReadOnly
                | ErrorKind::Interrupted
        ),
        "C9: a fault of the disk is taken for something else: {error:?}"
    );
    assert_eq!(error.kind().remedy(), Remedy::Retry);
}

/// Why writing fails at the moment, as health tells it.
#[track_caller]
pub(super) fn failing(store: &ShapeMeta) -> Error {
    match store.health().state {
        HealthState::Degraded { why: Degradation::Failing { error, failures }, .. } => {
            assert!(failures > 0);
            error
        }
        other => panic!("C9: a fault of the disk is no reason for this: {other:?}"),
    }
}

/// Nothing was moved aside: only damage may be.
#[track_caller]
pub(super) fn nothing_was_moved_aside(directory: &Path) {
    let names =
        fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it reads").file_name());
    let moved: Vec<_> = names.filter(|name| name.to_string_lossy().contains("damaged")).collect();
    assert!(moved.is_empty(), "C11: a fault of the disk was taken for damage: {moved:?}");
}
