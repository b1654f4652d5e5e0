use std::collections::HashMap;

use crate::ScanItem;

/// Moves dependencies before their dependants and keeps the order otherwise. Shapes in a dependency cycle
/// come in some order, each after its dependencies outside of the cycle.
///
/// O(shapes + dependencies). A definition is usually added after its dependencies, so the common case is one
/// pass that moves nothing.
pub(crate) fn dependencies_first(shapes: Vec<ScanItem>) -> Vec<ScanItem> {
    let index_of: HashMap<_, _> =
        shapes.iter().enumerate().map(|(index, item)| (*item.record.key(), index)).collect();
    let needs =
        |index: usize| shapes[index].record.dependencies.iter().filter_map(|key| index_of.get(key).copied());
    if (0..shapes.len()).all(|index| needs(index).all(|dependency| dependency <= index)) {
        return shapes;
    }

    // Depth-first with an explicit stack: a chain may be as long as the list.
    let mut ordered = Vec::with_capacity(shapes.len());
    let mut seen = vec![false; shapes.len()];
    let mut stack = Vec::new();
    for start in 0..shapes.len() {
        if !std::mem::replace(&mut seen[start], true) {
            stack.push((start, needs(start)));
        }
        while let Some((index, rest)) = stack.last_mut() {
            match rest.next() {
                Some(dependency) => {
                    if !std::mem::replace(&mut seen[dependency], true) {
                        stack.push((dependency, needs(dependency)));
                    }
                }
                None => {
                    ordered.push(*index);
                    stack.pop();
                }
            }
        }
    }
    drop(stack);
    let mut shapes: Vec<_> = shapes.into_iter().map(Some).collect();
    ordered.into_iter().filter_map(|index| shapes[index].take()).collect()
}
