//! Assertions about the errors that a fault of the disk may cause.

use std::{fs, path::Path};

use shape_meta::{Degradation, Error, ErrorKind, HealthState, Remedy, ShapeMeta, StoreControl};

/// Panics if the error is not one of a disk fault: it must be retryable, and not reported as corruption.
#[track_caller]
pub(super) fn assert_disk_fault(error: &Error) {
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Io
                | ErrorKind::StorageFull
                | ErrorKind::Busy
                | ErrorKind::ReadOnly
                | ErrorKind::Interrupted
        ),
        "C9: a fault of the disk is reported as another error: {error:?}"
    );
    assert_eq!(error.kind().remedy(), Remedy::Retry);
}

/// Returns the error for which health reports that writing fails.
#[track_caller]
pub(super) fn retry_error(store: &ShapeMeta) -> Error {
    match store.health().state {
        HealthState::Degraded { why: Degradation::Failing { error, failures }, .. } => {
            assert!(failures > 0);
            error
        }
        other => panic!("C9: a fault of the disk must not lead to {other:?}"),
    }
}

/// Panics if a file was quarantined, which only corruption may cause.
#[track_caller]
pub(super) fn assert_nothing_quarantined(directory: &Path) {
    let names =
        fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it reads").file_name());
    let quarantined: Vec<_> = names.filter(|name| name.to_string_lossy().contains("damaged")).collect();
    assert!(quarantined.is_empty(), "C11: a fault of the disk was taken for corruption: {quarantined:?}");
}
