//! What tells a row that was written from one that was damaged: XXH3-64 over all of its columns.
//!
//! SQLite notices damage to the structure of a page, and nothing of a byte that was flipped inside of a
//! handle, a key or a definition. The values are a part of the file format: they never change without a
//! migration. Rows of version 1 have none, and cannot be checked.

use shape_meta_core::{Entry, Key, Seq, SnapshotState};
use twox_hash::XxHash3_64;

/// Of a row of `shape`. The buffer is only there to be used again.
pub(crate) fn of_shape(entry: &Entry, state: SnapshotState, buffer: &mut Vec<u8>) -> i64 {
    buffer.clear();
    // Who reads a row has a buffer for it alone, which would grow five times.
    buffer.reserve(64 + 4 * entry.relations().len() + entry.handle().as_bytes().len());
    buffer.extend_from_slice(entry.key().as_bytes());
    buffer.extend_from_slice(&entry.hash().get().to_le_bytes());
    buffer.extend_from_slice(&[state.bits(), entry.is_indexed().into()]);
    entry.relations().iter().for_each(|one| buffer.extend_from_slice(&one.oid().to_le_bytes()));
    // The handle is the only other part without a fixed length, and it comes last with its own.
    let handle = entry.handle().as_bytes();
    buffer.extend_from_slice(handle);
    buffer.extend_from_slice(&(handle.len() as u64).to_le_bytes());
    of(entry.created(), buffer)
}

/// Of a row of `definition`. The key is in it, so that a definition never passes for that of another shape.
pub(crate) fn of_definition(id: Seq, key: &Key, dependencies: &[Key], body: &[u8]) -> i64 {
    let mut sum = XxHash3_64::oneshot_with_seed(id.get(), key.as_bytes());
    for dependency in dependencies {
        sum = XxHash3_64::oneshot_with_seed(sum, dependency.as_bytes());
    }
    // The last step is told from those before it by what it begins with.
    XxHash3_64::oneshot_with_seed(!sum, body).cast_signed()
}

/// Of a row of numbers, or of texts, with this id.
pub(crate) fn of(id: Seq, bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot_with_seed(id.get(), bytes).cast_signed()
}

#[cfg(test)]
mod tests {
    use shape_meta_core::{DefinitionHash, Handle, Relation};

    use super::*;

    fn entry(handle: &str, relations: &[u32]) -> Entry {
        Entry::new(
            Seq::new(7),
            Handle::new(handle).expect("valid"),
            Key::new([1; 32]),
            DefinitionHash::new(2),
            relations.iter().map(|oid| Relation::new(*oid)).collect(),
            false,
        )
    }

    #[test]
    fn are_the_same_for_ever() {
        let sum = of_shape(&entry("a", &[16501]), SnapshotState::Complete, &mut Vec::new());
        let definition = of_definition(Seq::new(7), &Key::new([1; 32]), &[Key::new([2; 32])], b"body");
        let expected = [-7086382348138902739, -3718765814999692553, 4248060192468963510];
        assert_eq!([sum, definition, of(Seq::new(7), b"x")], expected);
    }

    #[test]
    fn differ_where_a_byte_moves_from_one_column_to_the_next() {
        let mut buffer = Vec::new();
        let mut sum = |handle, relations, state| of_shape(&entry(handle, relations), state, &mut buffer);
        let (pending, complete) = (SnapshotState::Pending, SnapshotState::Complete);
        let sums = [
            sum("abcd", &[], pending),
            sum("abcde", &[], pending),
            sum("efgh", &[u32::from_le_bytes(*b"abcd")], pending),
            sum("abcdefgh", &[], pending),
            sum("abcd", &[], complete),
        ];
        let different: std::collections::HashSet<_> = sums.iter().collect();
        assert_eq!(different.len(), sums.len());

        let [a, b] = [[1; 32], [2; 32]].map(Key::new);
        let of = |keys: &[Key], body: &[u8]| of_definition(Seq::new(1), &a, keys, body);
        assert_ne!(of(&[b], b""), of(&[], b.as_bytes()));
        assert_ne!(of(&[a, b], b"x"), of(&[b, a], b"x"));
    }
}
