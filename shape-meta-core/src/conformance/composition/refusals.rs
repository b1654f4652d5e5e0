//! C4: a refusal changes nothing.

use crate::{
    Handle, InvalidHandle, Limits, MutateShapesExt, Mutation, NewShape, ReadShapes, Refusal, Relation,
    SnapshotState,
    conformance::{
        CompositionFixture, View,
        assertions::{WAIT, accepted, add, assert_gone, assert_new, assert_refused, mark, remove},
        sample::{key, shape, text_handle},
    },
};

/// Removing or marking a handle that is not live is refused, for any text: unknown, empty, too long, with
/// control characters.
pub fn c4_an_unknown_handle_is_refused<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    let long = "é".repeat(5_000);
    for text in ["unknown", "", "\0", "line\nbreak", "1", &long] {
        let reported = &text[..text.len().min(256)];
        let expected = Refusal::UnknownHandle { handle: reported.to_owned() };
        assert_eq!(assert_refused(&store, || store.remove(text, WAIT)), expected);
        assert_eq!(assert_refused(&store, || store.mark_snapshot_started(text, WAIT)), expected);
        assert_eq!(assert_refused(&store, || store.mark_snapshot_complete(text, WAIT)), expected);
        let pending = Mutation::Mark(text.to_owned(), SnapshotState::Pending);
        assert_eq!(assert_refused(&store, || store.mutate(&pending, WAIT)), expected);
        assert!(matches!(store.metadata(text), Ok(None)));
    }
}

/// A removed handle is unknown, before and after its removal is durable.
pub fn c4_a_removed_handle_is_unknown<F: CompositionFixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        let removed = shape(1);
        add(&store, &removed);
        add(&store, &shape(2));
        if flushes & 1 != 0 {
            fixture.flush(&store);
        }
        remove(&store, &removed.handle);
        if flushes & 2 != 0 {
            fixture.flush(&store);
        }
        let expected = Refusal::UnknownHandle { handle: removed.handle.to_string() };
        assert_eq!(assert_refused(&store, || store.remove(&removed.handle, WAIT)), expected);
        assert_eq!(assert_refused(&store, || store.mark_snapshot_started(&removed.handle, WAIT)), expected);
        assert_eq!(assert_refused(&store, || store.mark_snapshot_complete(&removed.handle, WAIT)), expected);
        assert_gone(&store, &removed);
        // A new shape with the same handle does not inherit the state of the removed one.
        let created = add(&store, &removed).seq();
        fixture.flush(&store);
        assert_new(&store, &removed, created);
    }
}

/// An empty text or a text with control characters is no valid handle, and its error converts to a refusal.
pub fn c4_unprintable_handles_are_refused<F: CompositionFixture>(fixture: &F) {
    assert_eq!(Handle::new(""), Err(InvalidHandle::Empty));
    for text in ["\0", "a\u{7f}", "a\u{9b}b", "\n", "tab\t"] {
        let Err(error) = Handle::new(text) else { panic!("{text:?} should be no valid handle") };
        assert_eq!(Refusal::from(error).name(), "invalid_handle");
    }
    let store = fixture.open();
    let unusual = NewShape { handle: text_handle("ß \u{2028}\u{200b}"), ..shape(1) };
    let created = add(&store, &unusual).seq();
    fixture.flush(&store);
    assert_new(&store, &unusual, created);
}

/// A shape over a limit is refused with its size and the limit, by `add` and by `get_or_add`. A shape exactly
/// at the limits is accepted.
pub fn c4_shapes_over_a_limit_are_refused<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    let limits = Limits::default();
    let sized = |handle: usize, definition: usize, relations: usize, dependencies: usize| NewShape {
        handle: text_handle(&"h".repeat(handle)),
        definition: vec![b'd'; definition].into(),
        relations: (0..relations as u32).map(Relation::new).collect(),
        dependencies: (0..dependencies as u64).map(|number| key(1_000 + number)).collect(),
        ..shape(2)
    };
    let too_large = [
        sized(limits.handle + 1, 0, 1, 0),
        sized(10_000, 0, 1, 0),
        sized(9, limits.definition + 1, 1, 0),
        sized(9, 1, limits.relations + 1, 0),
        sized(9, 1, 10_000, 0),
        sized(9, 1, 1, limits.dependencies + 1),
        sized(9, 1, 1, 10_000),
    ];
    for new in too_large {
        let Err(expected) = limits.check(&new) else { panic!("the shape should be over a limit") };
        assert_eq!(assert_refused(&store, || store.add(new.clone(), WAIT)), expected);
        assert_eq!(assert_refused(&store, || store.get_or_add(&new, WAIT)), expected);
        assert_gone(&store, &new);
    }
    let largest = sized(limits.handle, limits.definition, limits.relations, limits.dependencies);
    let created = add(&store, &largest).seq();
    assert_new(&store, &largest, created);
    fixture.flush(&store);
    assert_new(&store, &largest, created);
    remove(&store, &largest.handle);
    assert_gone(&store, &largest);
    fixture.flush(&store);
    assert_gone(&store, &largest);
}

/// Refusals use no sequence number: the next accepted mutation gets the next one.
pub fn c4_refusals_use_no_sequence_number<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    for _ in 0..20 {
        assert_refused(&store, || store.add(shape(1), WAIT));
        assert_refused(&store, || store.remove("unknown", WAIT));
    }
    mark(&store, &shape(1).handle, SnapshotState::Started);
    let reset = accepted(store.reset(WAIT));
    assert_eq!(reset.seq().get(), 3);
    assert_eq!(View::of(&store).last_seq.get(), 3);
}
