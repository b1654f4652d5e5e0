//! What can be tried again, and when.

use std::time::Duration;

use shape_meta_core::{Error, ErrorKind, Handle, Key, MutateError, NotDurable, Refusal};

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

#[test]
fn c7_every_error_says_whether_and_when_to_try_again() {
    use ErrorKind::*;
    for kind in [Busy, StorageFull, Io, Interrupted, ReadOnly, Panicked, Cleaner, AlreadyOpen, Standby] {
        let error = Error::new(kind, "it fails");
        assert!(kind.is_retryable() && error.is_retryable(), "{kind:?}");
        assert_eq!(error.retry_after(), SECOND, "{kind:?}");
        assert_eq!(MutateError::from(error).retry_after(), SECOND, "{kind:?}");
    }
    for kind in [
        Rejected,
        Corrupt,
        NotADatabase,
        UnsupportedSchema,
        Fenced,
        Closed,
        Configuration,
        Unsupported,
        NotFound,
    ] {
        let error = Error::new(kind, "it fails");
        assert!(!kind.is_retryable() && error.retry_after().is_none(), "{kind:?}");
        assert!(!MutateError::from(error).is_retryable(), "{kind:?}");
    }

    let retry_after = Duration::from_millis(250);
    let handle = Handle::new("1-2").expect("valid");
    for refusal in
        [Refusal::Overloaded { retry_after }, Refusal::BeingCleaned { handle: handle.clone(), retry_after }]
    {
        assert_eq!(refusal.retry_after(), Some(retry_after));
        assert!(refusal.is_retryable() && MutateError::from(refusal).is_retryable());
    }
    let duplicate = Refusal::DuplicateKey { key: Key::new([7; 32]), held_by: handle };
    assert!(!duplicate.is_retryable() && MutateError::from(duplicate).retry_after().is_none());

    assert_eq!(NotDurable::TimedOut.retry_after(), SECOND);
    let error = || Error::new(Fenced, "another owner");
    for settled in [NotDurable::Rejected(error()), NotDurable::Stopped(error()), NotDurable::Forgotten] {
        assert!(!settled.is_retryable() && settled.retry_after().is_none(), "{settled:?}");
    }
}
