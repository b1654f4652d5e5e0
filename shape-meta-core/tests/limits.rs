//! What is just within a limit passes, one more does not.

use shape_meta_core::{
    Handle, Limits, NewShape, Refusal, Relation,
    conformance::{key, shape},
};

fn of(handle: usize, definition: usize, relations: u32, dependencies: u64) -> NewShape {
    NewShape {
        handle: Handle::new("h".repeat(handle)).expect("valid"),
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
    let handle = Handle::new("hhhh").expect("valid");
    assert_eq!(limits.check(&of(4, 3, 2, 1)), Ok(()));
    assert_eq!(limits.check(&of(5, 3, 2, 1)), Err(Refusal::HandleTooLong { bytes: 5, max: 4 }));
    let too_large = Refusal::DefinitionTooLarge { handle: handle.clone(), bytes: 4, max: 3 };
    assert_eq!(limits.check(&of(4, 4, 2, 1)), Err(too_large));
    let too_many = Refusal::TooManyRelations { handle: handle.clone(), count: 3, max: 2 };
    assert_eq!(limits.check(&of(4, 3, 3, 1)), Err(too_many));
    let too_many = Refusal::TooManyDependencies { handle, count: 2, max: 1 };
    assert_eq!(limits.check(&of(4, 3, 2, 2)), Err(too_many));
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let limits = Limits::default();
    assert_eq!(limits.check(&of(256, 1 << 20, 1_000, 1_000)), Ok(()));
    for refused in [of(257, 0, 0, 0), of(1, (1 << 20) + 1, 0, 0), of(1, 0, 1_001, 0), of(1, 0, 0, 1_001)] {
        assert!(limits.check(&refused).is_err());
    }
}

#[test]
fn a_limit_of_zero_refuses_all_but_nothing() {
    let limits = Limits::default().max_definition_bytes(0).max_relations(0).max_dependencies(0);
    assert_eq!(limits.check(&of(1, 0, 0, 0)), Ok(()));
    assert!(limits.check(&of(1, 1, 0, 0)).is_err());
}
