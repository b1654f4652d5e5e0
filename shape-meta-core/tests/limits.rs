//! A shape at a limit passes, and a shape above it is refused.

use shape_meta_core::{
    Handle, Limits, NewShape, Refusal, Relation,
    conformance::{key, shape},
};

fn sized(handle: usize, definition: usize, relations: u32, dependencies: u64) -> NewShape {
    NewShape {
        handle: Handle::new("h".repeat(handle)).expect("the handle is valid"),
        definition: vec![0; definition].into(),
        relations: (0..relations).map(Relation::new).collect(),
        dependencies: (0..dependencies).map(key).collect(),
        ..shape(1)
    }
}

#[test]
fn each_limit_is_checked() {
    let limits =
        Limits::default().max_handle_bytes(4).max_definition_bytes(3).max_relations(2).max_dependencies(1);
    let handle = Handle::new("hhhh").expect("the handle is valid");
    assert_eq!(limits.check(&sized(4, 3, 2, 1)), Ok(()));
    assert_eq!(limits.check(&sized(5, 3, 2, 1)), Err(Refusal::HandleTooLong { bytes: 5, max: 4 }));
    let too_large = Refusal::DefinitionTooLarge { handle: handle.clone(), bytes: 4, max: 3 };
    assert_eq!(limits.check(&sized(4, 4, 2, 1)), Err(too_large));
    let too_many = Refusal::TooManyRelations { handle: handle.clone(), count: 3, max: 2 };
    assert_eq!(limits.check(&sized(4, 3, 3, 1)), Err(too_many));
    let too_many = Refusal::TooManyDependencies { handle, count: 2, max: 1 };
    assert_eq!(limits.check(&sized(4, 3, 2, 2)), Err(too_many));
}

#[test]
fn the_defaults_are_as_documented() {
    let limits = Limits::default();
    assert_eq!(limits.check(&sized(256, 1 << 20, 1_000, 1_000)), Ok(()));
    for refused in
        [sized(257, 0, 0, 0), sized(1, (1 << 20) + 1, 0, 0), sized(1, 0, 1_001, 0), sized(1, 0, 0, 1_001)]
    {
        assert!(limits.check(&refused).is_err());
    }
}

#[test]
fn a_limit_of_zero_allows_only_nothing() {
    let limits = Limits::default().max_definition_bytes(0).max_relations(0).max_dependencies(0);
    assert_eq!(limits.check(&sized(1, 0, 0, 0)), Ok(()));
    assert!(limits.check(&sized(1, 1, 0, 0)).is_err());
}

/// The largest limit refuses nothing, and the smallest everything but nothing.
#[test]
fn c7_extreme_limits_neither_panic_nor_flip_their_meaning() {
    let all = |bytes: usize| {
        let limits = Limits::default().max_handle_bytes(bytes).max_definition_bytes(bytes);
        limits.max_relations(bytes).max_dependencies(bytes)
    };
    assert_eq!(all(usize::MAX).check(&sized(300, 2 << 20, 2_000, 2_000)), Ok(()));
    assert_eq!(all(0).check(&sized(1, 0, 0, 0)), Err(Refusal::HandleTooLong { bytes: 1, max: 0 }));
}
