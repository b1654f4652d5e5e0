//! Checksums of rows: XXH3-64 over all columns of a row.
//!
//! A database detects at most damage to the structure of a page, but not a byte that was flipped inside a
//! handle, a key or a definition, or a row that was edited by hand. The values are a part of the format of a
//! store: they never change without a migration.

use twox_hash::XxHash3_64;

use crate::{Entry, Key, Seq, SnapshotState};

/// Returns the checksum of the row of a shape, which has all but its definition. `buffer` is only passed to
/// be reused. O(size of the handle and the relations).
pub fn of_shape(entry: &Entry, state: SnapshotState, buffer: &mut Vec<u8>) -> i64 {
    buffer.clear();
    // A reader has a new buffer for each row, which would otherwise grow five times.
    buffer.reserve(72 + 4 * entry.relations().len() + entry.handle().as_bytes().len());
    buffer.extend_from_slice(entry.key().as_bytes());
    buffer.extend_from_slice(&entry.hash().get().to_le_bytes());
    buffer.extend_from_slice(&[state.bits(), entry.is_indexed().into()]);
    entry.relations().iter().for_each(|one| buffer.extend_from_slice(&one.oid().to_le_bytes()));
    // The handle is the only other part of variable length, so it comes last, followed by its length.
    let handle = entry.handle().as_bytes();
    buffer.extend_from_slice(handle);
    buffer.extend_from_slice(&(handle.len() as u64).to_le_bytes());
    // A row that was written before there were times of creation keeps its checksum.
    if let Some(at) = entry.created_at() {
        buffer.extend_from_slice(&at.as_micros().to_le_bytes());
    }
    of(entry.created(), buffer)
}

/// Returns the checksum of the row of a definition. It covers the key, so that a definition never verifies as
/// that of another shape. O(size of the definition).
pub fn of_definition(id: Seq, key: &Key, dependencies: &[Key], body: &[u8]) -> i64 {
    let mut sum = XxHash3_64::oneshot_with_seed(id.get(), key.as_bytes());
    for dependency in dependencies {
        sum = XxHash3_64::oneshot_with_seed(sum, dependency.as_bytes());
    }
    // The inverted seed separates the body from the dependencies.
    XxHash3_64::oneshot_with_seed(!sum, body).cast_signed()
}

/// Returns the checksum of a row with this id and these bytes. O(bytes).
pub fn of(id: Seq, bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot_with_seed(id.get(), bytes).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DefinitionHash, Handle, Relation, Timestamp};

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
    fn the_values_never_change() {
        let sum = of_shape(&entry("a", &[16501]), SnapshotState::Complete, &mut Vec::new());
        let since = entry("a", &[16501]).with_created_at(Some(Timestamp::from_micros(5)));
        assert_eq!(of_shape(&since, SnapshotState::Complete, &mut Vec::new()), -6325418818657218874);
        let definition = of_definition(Seq::new(7), &Key::new([1; 32]), &[Key::new([2; 32])], b"body");
        let expected = [-7086382348138902739, -3718765814999692553, 4248060192468963510];
        assert_eq!([sum, definition, of(Seq::new(7), b"x")], expected);
    }

    #[test]
    fn a_byte_that_moves_to_another_column_changes_the_checksum() {
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
