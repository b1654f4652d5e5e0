use std::collections::HashMap;

use crate::ScanItem;

/// Puts dependencies before their dependants and keeps the order otherwise. Shapes that depend on each other
/// in a circle come in some order, each after what it builds on outside of the circle.
///
/// A definition is usually added after those that it builds on, so the common case is one pass that finds
/// nothing to move. O(shapes + dependencies).
pub(crate) fn dependencies_first(shapes: Vec<ScanItem>) -> Vec<ScanItem> {
    let places: HashMap<_, _> =
        shapes.iter().enumerate().map(|(place, listed)| (*listed.record.key(), place)).collect();
    let needs =
        |place: usize| shapes[place].record.dependencies.iter().filter_map(|key| places.get(key).copied());
    if (0..shapes.len()).all(|place| needs(place).all(|dependency| dependency <= place)) {
        return shapes;
    }

    // Depth-first with a stack of our own: a chain may be as long as the list.
    let mut ordered = Vec::with_capacity(shapes.len());
    let mut seen = vec![false; shapes.len()];
    let mut stack = Vec::new();
    for start in 0..shapes.len() {
        if !std::mem::replace(&mut seen[start], true) {
            stack.push((start, needs(start)));
        }
        while let Some((place, rest)) = stack.last_mut() {
            match rest.next() {
                Some(dependency) => {
                    if !std::mem::replace(&mut seen[dependency], true) {
                        stack.push((dependency, needs(dependency)));
                    }
                }
                None => {
                    ordered.push(*place);
                    stack.pop();
                }
            }
        }
    }
    drop(stack);
    let mut shapes: Vec<_> = shapes.into_iter().map(Some).collect();
    ordered.into_iter().filter_map(|place| shapes[place].take()).collect()
}
