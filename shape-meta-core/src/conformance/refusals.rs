//! C4: refusals change nothing.

use super::{
    Fixture, View,
    act::{PATIENT, accepted, add, assert_gone, assert_new, mark, refuses, remove},
    sample::{key, shape, text_handle},
};
use crate::{
    Handle, InvalidHandle, Limits, MutateShapesExt, Mutation, NewShape, ReadShapes, Refusal, Relation,
    SnapshotState,
};

/// Removing or marking what is not live is refused, whatever the text: unknown, empty, over-long, with
/// control characters.
pub fn c4_an_unknown_handle_is_refused<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    let long = "é".repeat(5_000);
    for text in ["unknown", "", "\0", "line\nbreak", "1", &long] {
        let cut = &text[..text.len().min(256)];
        let expected = Refusal::UnknownHandle { handle: cut.to_owned() };
        assert_eq!(refuses(&store, || store.remove(text, PATIENT)), expected);
        assert_eq!(refuses(&store, || store.mark_snapshot_started(text, PATIENT)), expected);
        assert_eq!(refuses(&store, || store.mark_snapshot_complete(text, PATIENT)), expected);
        let pending = Mutation::Mark(text.to_owned(), SnapshotState::Pending);
        assert_eq!(refuses(&store, || store.mutate(&pending, PATIENT)), expected);
        assert!(matches!(store.metadata(text), Ok(None)));
    }
}

/// A handle that was removed is unknown, before and after the removal is durable.
pub fn c4_a_removed_handle_is_unknown<F: Fixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        let gone = shape(1);
        add(&store, &gone);
        add(&store, &shape(2));
        if flushes & 1 != 0 {
            fixture.flush(&store);
        }
        remove(&store, &gone.handle);
        if flushes & 2 != 0 {
            fixture.flush(&store);
        }
        let expected = Refusal::UnknownHandle { handle: gone.handle.to_string() };
        assert_eq!(refuses(&store, || store.remove(&gone.handle, PATIENT)), expected);
        assert_eq!(refuses(&store, || store.mark_snapshot_started(&gone.handle, PATIENT)), expected);
        assert_eq!(refuses(&store, || store.mark_snapshot_complete(&gone.handle, PATIENT)), expected);
        assert_gone(&store, &gone);
        // The mark of the old shape does not stick to a new one of the same handle.
        let created = add(&store, &gone).seq();
        fixture.flush(&store);
        assert_new(&store, &gone, created);
    }
}

/// A text that is empty or has control characters is no handle, and its error is a refusal.
pub fn c4_a_handle_is_printable<F: Fixture>(fixture: &F) {
    assert_eq!(Handle::new(""), Err(InvalidHandle::Empty));
    for text in ["\0", "a\u{7f}", "a\u{9b}b", "\n", "tab\t"] {
        let Err(why) = Handle::new(text) else { panic!("{text:?} should be no handle") };
        assert_eq!(Refusal::from(why).name(), "invalid_handle");
    }
    let store = fixture.open();
    let unusual = NewShape { handle: text_handle("ß \u{2028}\u{200b}"), ..shape(1) };
    let created = add(&store, &unusual).seq();
    fixture.flush(&store);
    assert_new(&store, &unusual, created);
}

/// What is larger than the limits is refused with its size and the limit, by add and by get-or-add; what
/// is just as large is accepted.
pub fn c4_what_is_too_large_is_refused<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    let limits = Limits::default();
    let of = |handle: usize, definition: usize, relations: usize, dependencies: usize| NewShape {
        handle: text_handle(&"h".repeat(handle)),
        definition: vec![b'd'; definition].into(),
        relations: (0..relations as u32).map(Relation::new).collect(),
        dependencies: (0..dependencies as u64).map(|number| key(1_000 + number)).collect(),
        ..shape(2)
    };
    let too_large = [
        of(limits.handle + 1, 0, 1, 0),
        of(10_000, 0, 1, 0),
        of(9, limits.definition + 1, 1, 0),
        of(9, 1, limits.relations + 1, 0),
        of(9, 1, 10_000, 0),
        of(9, 1, 1, limits.dependencies + 1),
        of(9, 1, 1, 10_000),
    ];
    for new in too_large {
        let Err(expected) = limits.check(&new) else { panic!("within the limits") };
        assert_eq!(refuses(&store, || store.add(new.clone(), PATIENT)), expected);
        assert_eq!(refuses(&store, || store.get_or_add(&new, PATIENT)), expected);
        assert_gone(&store, &new);
    }
    let largest = of(limits.handle, limits.definition, limits.relations, limits.dependencies);
    let created = add(&store, &largest).seq();
    assert_new(&store, &largest, created);
    fixture.flush(&store);
    assert_new(&store, &largest, created);
    remove(&store, &largest.handle);
    assert_gone(&store, &largest);
    fixture.flush(&store);
    assert_gone(&store, &largest);
}

/// Many refusals in a row cost nothing of the order, and the next accepted mutation has the next place.
pub fn c4_refusals_take_no_place_in_the_order<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    for _ in 0..20 {
        refuses(&store, || store.add(shape(1), PATIENT));
        refuses(&store, || store.remove("unknown", PATIENT));
    }
    mark(&store, &shape(1).handle, SnapshotState::Started);
    let reset = accepted(store.reset(PATIENT));
    assert_eq!(reset.seq().get(), 3);
    assert_eq!(View::of(&store).last_seq.get(), 3);
}
