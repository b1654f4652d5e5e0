//! C4: every invalid request has its own error text, and changes nothing.

use shape_meta::{Handle, MutateError, MutateShapesExt, NewShape, ReadShapesExt, ShapeMeta, StoreControl};
use shape_meta_core::conformance::{View, handle, key, relations, shape};

use shape_meta_harness::{
    compositions::{ALL, TIMEOUT, WAIT, directory},
    rows::Rows,
};

/// One kind of invalid request.
type InvalidRequest = fn(&ShapeMeta) -> Result<(), MutateError>;

const INVALID_REQUESTS: &[(&str, InvalidRequest)] = &[
    ("remove an unknown handle", |store| store.remove("unknown", WAIT).map(drop)),
    ("mark an unknown handle", |store| store.mark_snapshot_started("unknown", WAIT).map(drop)),
    ("remove an empty handle", |store| store.remove("", WAIT).map(drop)),
    ("remove an invalid handle", |store| store.remove("a\nb\0", WAIT).map(drop)),
    ("remove a handle of 10,000 bytes", |store| store.remove(&"é".repeat(5_000), WAIT).map(drop)),
    ("add a handle that is on disk", |store| add(store, NewShape { handle: handle(1), ..shape(9) })),
    ("add a handle that is pending", |store| add(store, NewShape { handle: handle(2), ..shape(9) })),
    ("add a key that is on disk", |store| add(store, NewShape { key: key(1), ..shape(9) })),
    ("add a key that is pending", |store| add(store, NewShape { key: key(2), ..shape(9) })),
    ("find no key and add a live handle", |store| {
        store.get_or_add(&NewShape { handle: handle(1), ..shape(9) }, WAIT).map(drop)
    }),
    ("add a handle of 10,000 bytes", |store| {
        add(store, NewShape { handle: long_handle("h".repeat(10_000)), ..shape(9) })
    }),
    ("add a definition over the limit", |store| {
        add(store, NewShape { definition: vec![0; (1 << 20) + 1].into(), ..shape(9) })
    }),
    ("add 10,000 relations", |store| {
        add(store, NewShape { relations: relations(&(0..10_000).collect::<Vec<_>>()), ..shape(9) })
    }),
    ("add 10,000 dependencies", |store| {
        add(store, NewShape { dependencies: (0..10_000).map(key).collect(), ..shape(9) })
    }),
    ("find no key and add 10,000 relations", |store| {
        let relations = relations(&(0..10_000).collect::<Vec<_>>());
        store.get_or_add(&NewShape { relations, ..shape(9) }, WAIT).map(drop)
    }),
];

fn add(store: &ShapeMeta, shape: NewShape) -> Result<(), MutateError> {
    store.add(shape, WAIT).map(drop)
}

fn long_handle(text: String) -> Handle {
    Handle::new(text).expect("the store limits the length, not the type")
}

#[test]
fn c4_each_invalid_request_is_refused_and_changes_nothing() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        store.flush(TIMEOUT).expect("nothing fails");
        store.pause();
        store.add(shape(2), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
        store.mark_snapshot_complete(&handle(2), WAIT).expect("it is live");
        let (view, pending) = (View::of(&store), store.pending());

        let mut texts = Vec::new();
        for (name, request) in INVALID_REQUESTS {
            match request(&store) {
                Err(MutateError::Refused(refusal)) => {
                    texts.push(format!("{name}\n  {}: {refusal}", refusal.name()));
                }
                other => panic!("{composition:?}: {name}: {other:?}"),
            }
            assert_eq!(View::of(&store), view, "{composition:?}: {name}");
            assert_eq!((store.pending().shapes, store.pending().bytes), (pending.shapes, pending.bytes));
        }
        insta::allow_duplicates! { insta::assert_snapshot!(texts.join("\n")) }

        store.resume();
        store.flush(TIMEOUT).expect("nothing fails");
        let rows = Rows::of(directory.path());
        assert_eq!((rows.count("shape"), rows.count("definition")), (2, 2), "{composition:?}");
        drop(store);
        let store = composition.open(directory.path());
        assert!(
            store.has_handle(&handle(1)).expect("it reads")
                && store.has_handle(&handle(2)).expect("it reads")
        );
    }
}

/// A handle that is not printable is refused before a store is involved.
#[test]
fn c4_an_invalid_handle_is_refused_with_its_reason() {
    let texts = ["", "a\nb", "\0", "tab\there", "next line \u{85}", "\u{7f}"].map(|text| {
        let error = Handle::new(text).expect_err("it is not a valid handle");
        format!("{text:?}: {error}")
    });
    insta::assert_snapshot!(texts.join("\n"));
}
