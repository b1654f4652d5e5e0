//! What people read when something goes wrong.

use std::{error::Error as _, time::Duration};

use shape_meta_core::{
    Error, ErrorKind, Handle, InvalidKey, MutateError, NotDurable, Refusal, Seq,
    conformance::{handle, key, ops::Op},
};

fn all_refusals() -> Vec<Refusal> {
    let named = || handle(1);
    let [Err(empty), Err(control)] = ["", "a\nb"].map(Handle::new) else { panic!("neither is a handle") };
    vec![
        Refusal::DuplicateHandle { handle: named() },
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

#[test]
fn of_failures() {
    let cause = std::io::Error::other("no space left on device");
    let error = Error::new(ErrorKind::Full, "the disk is full").with_source(cause).with_culprit(Seq::new(7));
    let mutate = MutateError::from(error.clone());
    let shared = error.clone().with_culprit(Seq::new(8));
    let texts = [
        format!("display: {error}"),
        format!("debug: {error:?}"),
        format!("source: {}", error.source().expect("it has a cause")),
        format!("mutate: {mutate}, because of {}", mutate.source().expect("it has a cause")),
        format!("refused: {}", MutateError::from(all_refusals().remove(0))),
        format!("key: {InvalidKey}"),
        format!("shared: {shared}, culprit {:?}", shared.culprit()),
        format!("rejected: {}", NotDurable::Rejected(error.clone())),
        format!("stopped: {}", NotDurable::Stopped(error.clone())),
        format!("timed out: {}", NotDurable::TimedOut),
        format!("forgotten: {}", NotDurable::Forgotten),
    ];
    insta::assert_snapshot!(texts.join("\n"));
    assert!(MutateError::from(all_refusals().remove(0)).refusal().is_some());
    assert!(mutate.refusal().is_none());
    assert_eq!(error.culprit(), Some(Seq::new(7)), "who shares an error is not changed with it");
}

#[test]
fn of_kinds_and_their_remedies() {
    use ErrorKind::*;
    let kinds = [
        Busy,
        Full,
        Io,
        Interrupted,
        ReadOnly,
        Panicked,
        Rejected,
        Corrupt,
        NotADatabase,
        NewerSchema,
        Fenced,
        Owned,
        Closed,
        Configuration,
        Unsupported,
        Cleaner,
    ];
    let texts: Vec<_> = kinds.map(|kind| format!("{}: {:?}", kind.name(), kind.remedy())).into();
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
