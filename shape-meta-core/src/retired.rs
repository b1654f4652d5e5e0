use std::sync::{Arc, OnceLock};

/// Values that a layer has retired, kept for the readers that still need them.
///
/// A read over two sources needs both at one moment, while a value moves from the upper source to the lower
/// one. The reader [pins](Self::pin) this list, reads the lower source, and then reads the upper source
/// together with the values that were [retired](Self::retire) since. Whatever the lower source showed, it
/// misses none of them. So a read is done once, however many values are retired meanwhile (I9), and no writer
/// waits for it.
///
/// A value is freed with the last pin that is older than it; without such a pin, at once. So a reader keeps
/// alive what is retired while it reads.
///
/// The list has no lock of its own. Pin it under a shared lock, and retire under the exclusive one, together
/// with the change of the upper source.
#[derive(Debug)]
pub struct Retired<T>(Arc<Node<T>>);

/// The values that were retired since a reader pinned the list.
#[derive(Debug)]
pub struct RetiredSince<T>(Arc<Node<T>>);

/// One value, which is empty until it is retired, and the node of the next one.
#[derive(Debug)]
struct Node<T> {
    value: OnceLock<T>,
    next: OnceLock<Arc<Node<T>>>,
}

impl<T> Retired<T> {
    /// Returns the list of the values that are retired from now on.
    pub fn pin(&self) -> RetiredSince<T> {
        RetiredSince(Arc::clone(&self.0))
    }

    /// Whether there is a pin, which would show the next value. Exact under the exclusive lock.
    pub fn is_pinned(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Retires a value: every pin that exists shows it from now on.
    pub fn retire(&mut self, value: T) {
        let next = Arc::new(Node::default());
        let last = std::mem::replace(&mut self.0, Arc::clone(&next));
        // Both are empty, since only this method sets them, once for each node.
        let _ = last.value.set(value);
        let _ = last.next.set(next);
    }
}

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> RetiredSince<T> {
    /// Returns the values that were retired since the pin, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let nodes = std::iter::successors(Some(&*self.0), |node| node.next.get().map(|next| &**next));
        nodes.map_while(|node| node.value.get())
    }

    /// Whether nothing was retired since the pin.
    pub fn is_empty(&self) -> bool {
        self.0.value.get().is_none()
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), next: OnceLock::new() }
    }
}

/// Frees a chain node by node. The derived drop would recurse, once for each value that was retired during a
/// long read.
impl<T> Drop for Node<T> {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(node) = next {
            next = Arc::into_inner(node).and_then(|mut node| node.next.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_shows_what_is_retired_after_it() {
        let mut retired = Retired::default();
        retired.retire(1);
        let first = retired.pin();
        assert!(first.is_empty() && retired.is_pinned());
        retired.retire(2);
        assert!(!first.is_empty() && retired.is_pinned());
        let second = retired.pin();
        retired.retire(3);
        let values = |pin: &RetiredSince<i32>| pin.iter().copied().collect::<Vec<_>>();
        assert_eq!((values(&first), values(&second)), (vec![2, 3], vec![3]));
        drop((first, second));
        assert!(!retired.is_pinned());
    }

    #[test]
    fn a_value_is_freed_with_the_last_pin_that_is_older() {
        let (value, mut retired) = (Arc::new(()), Retired::default());
        retired.retire(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 1, "without a pin, at once");
        let (first, second) = (retired.pin(), retired.pin());
        retired.retire(Arc::clone(&value));
        let third = retired.pin();
        drop(first);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(second);
        assert_eq!(Arc::strong_count(&value), 1, "the third pin is younger than the value");
        drop(third);
    }

    /// A derived drop would overflow the stack.
    #[test]
    fn a_long_read_frees_a_long_chain() {
        let mut retired = Retired::default();
        let pin = retired.pin();
        (0..1_000_000).for_each(|number| retired.retire(number));
        assert_eq!(pin.iter().count(), 1_000_000);
        drop(pin);
    }
}
