//! Extreme values of the options: none panics, and none flips its meaning.

use std::time::Duration;

use shape_meta_admission::{Admission, AdmissionLimits, Drain, Kind, RetryAfter};

use crate::admission;

#[test]
fn c7_extreme_limits_neither_panic_nor_flip_their_meaning() {
    for (limit, name) in [(0, "none"), (1, "one"), (u32::MAX, "all")] {
        for kind in Kind::ALL {
            let admission = admission(limit, limit);
            let first = admission.try_acquire(kind);
            assert_eq!(first.is_ok(), limit > 0, "{name}");
            let second = admission.try_acquire(kind);
            assert_eq!(second.is_ok(), limit > 1, "{name}");
            drop((first, second));
            assert_eq!(admission.stats().of(kind).current, 0, "{name}");
        }
    }
    let text = r#"{"initial":0,"existing":4294967295}"#;
    let limits = AdmissionLimits { initial: 0, existing: u32::MAX };
    assert_eq!(AdmissionLimits::from_json(text), Ok(limits));
    for over in [r#"{"initial":4294967296,"existing":1}"#, r#"{"initial":-1,"existing":1}"#] {
        assert!(AdmissionLimits::from_json(over).is_err(), "{over}");
    }
}

#[test]
fn c7_extreme_delays_neither_panic_nor_flip_their_meaning() {
    let drains = [
        Drain::default(),
        Drain { pending: usize::MAX, per_second: f64::MIN_POSITIVE },
        Drain { pending: usize::MAX, per_second: f64::INFINITY },
        Drain { pending: 0, per_second: f64::NAN },
    ];
    let times = [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX];
    for drain in drains {
        for min in times {
            for max in times {
                let retry = RetryAfter::default().min(min).max(max).drain(move || drain);
                let limits = AdmissionLimits { initial: 0, existing: 0 };
                let rejected = Admission::with_retry_after(limits, retry).try_acquire(Kind::Initial);
                let rejected = rejected.expect_err("nothing is admitted");
                let is_between = (min..=max.max(min)).contains(&rejected.retry_after);
                assert!(is_between, "{min:?}, {max:?}, {drain:?}: {:?}", rejected.retry_after);
                assert!(rejected.retry_after_seconds() >= 1);
                assert!(rejected.to_string().contains("try again in"));
            }
        }
    }
}
