//! Lists return dependencies before their dependants.

use proptest::prelude::*;
use shape_meta_core::{
    MemoryStore, NewShape, ReadShapesExt, ShapeStore,
    conformance::{
        handle, key, shape,
        store::{added, apply, record},
    },
};

/// Returns the numbers of the shapes in the order of the list. Shape n depends on `dependencies[n]`, and the
/// shapes are created in the order of their numbers.
fn listed(dependencies: &[Vec<usize>]) -> Vec<usize> {
    let store = MemoryStore::new();
    let records = (0..).zip(dependencies).map(|(number, dependencies)| {
        let dependencies = dependencies.iter().map(|number| key(*number as u64)).collect();
        record(&NewShape { dependencies, ..shape(number) }, number + 1)
    });
    apply(&store, dependencies.len() as u64, records.map(|record| added(&record)));
    numbers(&store, dependencies.len())
}

fn numbers<S: ShapeStore>(store: &S, count: usize) -> Vec<usize> {
    let numbers: std::collections::HashMap<_, _> =
        (0..count).map(|number| (handle(number as u64), number)).collect();
    let list = store.list().expect("memory does not fail");
    list.iter().map(|item| numbers[item.record.handle()]).collect()
}

#[test]
fn lists_keep_creation_order_where_dependencies_allow_it() {
    assert_eq!(listed(&[]), Vec::<usize>::new());
    assert_eq!(listed(&[vec![], vec![0], vec![0, 1], vec![3], vec![99, 0]]), [0, 1, 2, 3, 4]);
}

#[test]
fn a_dependency_moves_to_just_before_its_dependant() {
    assert_eq!(listed(&[vec![2], vec![], vec![]]), [2, 0, 1]);
    assert_eq!(listed(&[vec![2, 1], vec![], vec![3], vec![]]), [3, 2, 1, 0]);
}

#[test]
fn cycles_end() {
    assert_eq!(listed(&[vec![0]]), [0]);
    let mut cycle = listed(&[vec![1], vec![2], vec![0], vec![0]]);
    assert_eq!(cycle.pop(), Some(3), "a shape that depends on the cycle comes after it");
    cycle.sort_unstable();
    assert_eq!(cycle, [0, 1, 2]);
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    let chain: Vec<_> = (0..30_000).map(|number| vec![number + 1]).collect();
    let reversed: Vec<_> = (0..30_000).rev().collect();
    assert_eq!(listed(&chain), reversed);
}

proptest! {
    #[test]
    fn every_dependency_outside_of_a_cycle_comes_first(
        dependencies in prop::collection::vec(prop::collection::vec(0_usize..14, 0..3), 0..12),
    ) {
        let count = dependencies.len();
        let list = listed(&dependencies);
        let mut all = list.clone();
        all.sort_unstable();
        prop_assert_eq!(all, (0..count).collect::<Vec<_>>(), "each shape is returned once");

        // The transitive closure, by Warshall's algorithm.
        let mut reaches = vec![vec![false; count]; count];
        for (from, to) in dependencies.iter().enumerate() {
            to.iter().filter(|to| **to < count).for_each(|to| reaches[from][*to] = true);
        }
        for by in 0..count {
            let onward = reaches[by].clone();
            for from in reaches.iter_mut().filter(|from| from[by]) {
                from.iter_mut().zip(&onward).for_each(|(to, onward)| *to |= onward);
            }
        }
        let position = |number: usize| list.iter().position(|one| *one == number);
        let pairs = dependencies.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, *to)));
        for (from, to) in pairs.filter(|(from, to)| *to < count && !reaches[*to][*from]) {
            prop_assert!(position(to) < position(from), "{} before {} in {:?}", to, from, list);
        }
    }
}
