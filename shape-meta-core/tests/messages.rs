//! Error texts and other texts for people.

use std::{error::Error as _, sync::Arc, time::Duration};

use shape_meta_core::{
    DefinitionHash, Degradation, DurabilityTracker, Error, ErrorKind, Handle, Health, HealthState,
    InvalidKey, LastError, Latencies, MemoryStore, MutateError, MutateShapesExt, NoopObserver, NotDurable,
    Refusal, Relation, Seq, SnapshotState, Wait,
    conformance::{handle, key, ops::Op, shape},
};

use crate::conformance::direct;

fn all_refusals() -> Vec<Refusal> {
    let named = || handle(1);
    let [Err(empty), Err(control)] = ["", "a\nb"].map(Handle::new) else {
        panic!("neither is a valid handle")
    };
    vec![
        Refusal::DuplicateHandle { handle: named() },
        Refusal::ReadSince { handle: named() },
        Refusal::DuplicateKey { key: key(1), held_by: named() },
        Refusal::UnknownHandle { handle: "not \"there\"\n".to_owned() },
        empty.into(),
        control.into(),
        Refusal::HandleTooLong { bytes: 10_000, max: 256 },
        Refusal::DefinitionTooLarge { handle: named(), bytes: 2_000_000, max: 1_048_576 },
        Refusal::TooManyRelations { handle: named(), count: 10_000, max: 1_000 },
        Refusal::TooManyDependencies { handle: named(), count: 10_000, max: 1_000 },
        Refusal::Overloaded { retry_after: Duration::from_micros(12_345) },
        Refusal::Overloaded { retry_after: Duration::ZERO },
    ]
}

#[test]
fn of_refusals() {
    let texts: Vec<_> =
        all_refusals().iter().map(|refusal| format!("{}: {refusal}", refusal.name())).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

/// The handle comes from a request and may be logged.
#[test]
fn c4_an_unknown_handle_is_reported_up_to_a_length() {
    let store = direct(MemoryStore::new());
    for (unknown, reported) in [
        ("x".repeat(256), "x".repeat(256)),
        ("x".repeat(257), "x".repeat(256)),
        ("é".repeat(200), "é".repeat(128)),
        (format!("x{}", "é".repeat(200)), format!("x{}", "é".repeat(127))),
        (format!("xxx{}", "🦀".repeat(99)), format!("xxx{}", "🦀".repeat(63))),
    ] {
        let refused = store.remove(&unknown, Wait::No).expect_err("the handle is unknown");
        assert_eq!(refused.refusal(), Some(&Refusal::UnknownHandle { handle: reported }));
    }
}

#[test]
fn of_failures() {
    let cause = std::io::Error::other("no space left on device");
    let error = Error::new(ErrorKind::StorageFull, "the disk is full")
        .with_source(cause)
        .with_rejected_seq(Seq::new(7));
    let mutate = MutateError::from(error.clone());
    let shared = error.clone().with_rejected_seq(Seq::new(8));
    let texts = [
        format!("display: {error}"),
        format!("debug: {error:?}"),
        format!("source: {}", error.source().expect("the error has a cause")),
        format!("mutate: {mutate}, because of {}", mutate.source().expect("the error has a cause")),
        format!("refused: {}", MutateError::from(all_refusals().remove(0))),
        format!("key: {InvalidKey}"),
        format!("shared: {shared}, rejected_seq {:?}", shared.rejected_seq()),
        format!("rejected: {}", NotDurable::Rejected(error.clone())),
        format!("stopped: {}", NotDurable::Stopped(error.clone())),
        format!("timed out: {}", NotDurable::TimedOut),
        format!("forgotten: {}", NotDurable::Forgotten),
    ];
    insta::assert_snapshot!(texts.join("\n"));
    let refused = MutateError::from(all_refusals().remove(0));
    assert!(refused.refusal().is_some() && refused.source().is_none());
    assert!(mutate.refusal().is_none());
    assert_eq!(error.rejected_seq(), Some(Seq::new(7)), "a clone of an error is independent");
}

#[test]
fn of_kinds_and_their_remedies() {
    use ErrorKind::*;
    let kinds = [
        Busy,
        StorageFull,
        Io,
        Interrupted,
        ReadOnly,
        Panicked,
        Rejected,
        Corrupt,
        NotADatabase,
        UnsupportedSchema,
        Fenced,
        AlreadyOpen,
        Closed,
        Configuration,
        Unsupported,
        Cleaner,
        NotFound,
        Standby,
    ];
    let texts: Vec<_> = kinds.map(|kind| format!("{}: {:?}", kind.name(), kind.remedy())).into();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn of_not_durable_errors() {
    let error = Error::new(ErrorKind::StorageFull, "the disk is full");
    let errors = [
        NotDurable::TimedOut,
        NotDurable::Rejected(error.clone()),
        NotDurable::Stopped(error),
        NotDurable::Forgotten,
    ];
    assert_eq!(errors.each_ref().map(NotDurable::name), ["timed_out", "rejected", "stopped", "forgotten"]);
    assert_eq!(errors.each_ref().map(|error| error.source().is_some()), [false, true, true, false]);
}

#[test]
fn of_values() {
    let (mut recorded, none) = (Latencies::default(), Latencies::default());
    recorded.record(Duration::from_nanos(64));
    let entry = shape(1).record(Seq::new(3)).entry;
    entry.advance(SnapshotState::Started);
    let texts = [
        format!("{} {}", Seq::new(7), Relation::new(16_501)),
        DefinitionHash::new(0xab).to_string(),
        format!(
            "[{:>9}|{:>9}|{:>9}]",
            SnapshotState::Pending,
            SnapshotState::Started,
            SnapshotState::Complete
        ),
        format!("[{:>20}] {:?}", handle(1), handle(1)),
        format!("{} {:?}", key(1), key(1)),
        format!("{entry:?}"),
        format!("{recorded:?} {none:?}"),
    ];
    insta::assert_snapshot!(texts.join("\n"));
    let observed = format!("{:?}", DurabilityTracker::observed(Seq::ZERO, Arc::new(NoopObserver)));
    assert!(observed.contains("Callbacks { observer: true, requests: false }"), "{observed}");
}

#[test]
fn c9_of_health() {
    let error = || Error::new(ErrorKind::StorageFull, "the disk is full");
    let since = Duration::from_secs(90);
    let failing = |failures| Degradation::Failing { error: error(), failures };
    let states = [
        HealthState::Ready,
        HealthState::Degraded { why: failing(1), since },
        HealthState::Degraded { why: failing(2), since },
        HealthState::Degraded { why: Degradation::Lagging, since },
        HealthState::Fenced { error: error() },
        HealthState::Stopped { error: error() },
        HealthState::Closing,
        HealthState::Closed,
    ];
    let mut texts = Vec::new();
    for state in states {
        let mut health = Health::new(state);
        let (ready, live) = (health.is_ready(), health.is_live());
        texts.push(format!("{}: ready {ready}, live {live}: {health}", health.state.name()));
        health.durability_window = Duration::from_millis(1_250);
        health.last_error = Some(LastError { error: error(), ago: since });
        texts.push(format!("  {health}"));
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn of_operations() {
    let texts: Vec<_> =
        (0..=u8::MAX).step_by(6).map(|kind| format!("{:?}", Op::from([kind, 1, 2, 3, 4, 5]))).collect();
    let mut distinct = texts.clone();
    distinct.dedup();
    insta::assert_snapshot!(distinct.join("\n"));
}
