//! Single permits: their kind, and that each is released once.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use shape_meta_admission::{Admission, AdmissionLimits, Drain, Kind, KindStats, RetryAfter};

use crate::admission;

#[test]
fn each_kind_has_its_limit() {
    let admission = admission(2, 1);
    let initial: Vec<_> =
        (0..2).map(|_| admission.try_acquire(Kind::Initial).expect("below the limit")).collect();
    let existing = admission.try_acquire(Kind::Existing).expect("below the limit");
    for (kind, limit) in [(Kind::Initial, 2), (Kind::Existing, 1)] {
        let rejected = admission.try_acquire(kind).expect_err("at the limit");
        assert_eq!((rejected.kind, rejected.limit, rejected.current), (kind, limit, limit));
    }
    let stats = admission.stats();
    assert_eq!(stats.initial, KindStats { acquired: 2, rejected: 1, current: 2, limit: 2 });
    assert_eq!(stats.existing, KindStats { acquired: 1, rejected: 1, current: 1, limit: 1 });

    drop(initial);
    assert_eq!(admission.stats().initial.current, 0);
    assert_eq!(admission.stats().existing.current, 1);
    drop(existing);
    assert_eq!(admission.stats().existing.current, 0);
}

#[test]
fn zero_admits_none_and_the_maximum_does_not_overflow() {
    let admission = admission(0, u32::MAX);
    assert!(admission.try_acquire(Kind::Initial).is_err());
    let mut permit = admission.try_acquire(Kind::Existing).expect("below the limit");
    assert!(permit.switch_to(Kind::Initial).is_err());
    assert_eq!(admission.stats().initial.current, 0);
    assert_eq!(admission.stats().existing.current, 1);
}

#[test]
fn clones_share_their_counts() {
    let (one, other) = (admission(1, 1), admission(1, 1));
    let _permit = one.clone().try_acquire(Kind::Initial).expect("below the limit");
    assert!(one.try_acquire(Kind::Initial).is_err());
    assert!(other.try_acquire(Kind::Initial).is_ok());
}

#[test]
fn a_moved_permit_releases_its_former_kind() {
    let admission = admission(1, 1);
    let mut permit = admission.try_acquire(Kind::Initial).expect("below the limit");
    permit.switch_to(Kind::Existing).expect("below the limit");
    assert_eq!(permit.kind(), Kind::Existing);
    let stats = admission.stats();
    assert_eq!(stats.initial, KindStats { acquired: 1, rejected: 0, current: 0, limit: 1 });
    assert_eq!(stats.existing, KindStats { acquired: 1, rejected: 0, current: 1, limit: 1 });

    let _initial = admission.try_acquire(Kind::Initial).expect("below the limit");
    drop(permit);
    assert_eq!(admission.stats().initial.current, 1);
    assert_eq!(admission.stats().existing.current, 0);
}

#[test]
fn a_failed_move_leaves_the_permit_unchanged() {
    let admission = admission(1, 1);
    let mut permit = admission.try_acquire(Kind::Initial).expect("below the limit");
    let existing = admission.try_acquire(Kind::Existing).expect("below the limit");
    let rejected = permit.switch_to(Kind::Existing).expect_err("at the limit");
    assert_eq!((rejected.kind, rejected.limit, rejected.current), (Kind::Existing, 1, 1));
    assert_eq!(permit.kind(), Kind::Initial);
    assert_eq!(admission.stats().initial.current, 1);
    assert_eq!(admission.stats().existing, KindStats { acquired: 1, rejected: 1, current: 1, limit: 1 });

    drop(existing);
    permit.switch_to(Kind::Existing).expect("below the limit now");
}

#[test]
fn a_move_to_the_same_kind_succeeds_at_the_limit() {
    let admission = admission(1, 1);
    let mut permit = admission.try_acquire(Kind::Initial).expect("below the limit");
    permit.switch_to(Kind::Initial).expect("it has this kind already");
    assert_eq!(admission.stats().initial, KindStats { acquired: 1, rejected: 0, current: 1, limit: 1 });
}

#[test]
fn a_panic_releases_the_permit() {
    let admission = admission(1, 1);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut permit = admission.try_acquire(Kind::Initial).expect("below the limit");
        permit.switch_to(Kind::Existing).expect("below the limit");
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panic.is_err());
    assert_eq!(admission.stats().initial.current, 0);
    assert_eq!(admission.stats().existing.current, 0);
}

#[test]
fn a_drain_that_panics_changes_nothing() {
    let retry =
        RetryAfter::default().drain(|| -> Drain { std::panic::resume_unwind(Box::new("on purpose")) });
    let admission = Admission::with_retry_after(AdmissionLimits { initial: 1, existing: 0 }, retry);
    let mut permit = admission.try_acquire(Kind::Initial).expect("below the limit");
    assert!(catch_unwind(AssertUnwindSafe(|| permit.switch_to(Kind::Existing))).is_err());
    assert_eq!(permit.kind(), Kind::Initial);
    assert_eq!(admission.stats().initial.current, 1);
    drop(permit);
    assert_eq!(admission.stats().initial.current, 0);
}

#[test]
fn the_delay_uses_the_rate_at_the_rejection() {
    let calls = Arc::new(AtomicU32::new(0));
    let drain = {
        let calls = Arc::clone(&calls);
        move || {
            let before = calls.fetch_add(1, Ordering::Relaxed);
            Drain { pending: 1000, per_second: 500.0 / f64::from(before + 1) }
        }
    };
    let limits = AdmissionLimits { initial: 1, existing: 0 };
    let admission = Admission::with_retry_after(limits, RetryAfter::default().drain(drain));
    let _permit = admission.try_acquire(Kind::Initial).expect("below the limit");
    assert_eq!(calls.load(Ordering::Relaxed), 0, "called without a rejection");
    for seconds in [2, 4, 6] {
        let rejected = admission.try_acquire(Kind::Existing).expect_err("at the limit");
        let min = Duration::from_secs(seconds);
        assert!((min..=min * 3 / 2).contains(&rejected.retry_after), "{rejected:?}");
        assert!((seconds..=seconds * 3 / 2).contains(&rejected.retry_after_seconds()));
    }
}

#[test]
fn the_text_of_a_rejection() {
    let retry = RetryAfter::default().min(Duration::ZERO).max(Duration::ZERO);
    let admission = Admission::with_retry_after(AdmissionLimits { initial: 0, existing: 0 }, retry);
    let rejected = admission.try_acquire(Kind::Initial).expect_err("at the limit");
    insta::assert_snapshot!(
        rejected,
        @r#"too many concurrent requests of the kind "initial": 0 in progress, the limit is 0; try again in 1 ms"#
    );
    assert_eq!(rejected.retry_after_seconds(), 1, "a header has at least one second");
}
