use std::hash::{BuildHasher, Hasher};

/// The hasher of the table: one multiplication, folded.
///
/// What it is given is a good hash already (see [`Slots`](crate::slots::Slots)), but tagged in its low
/// bits and cut in its high ones, and the table wants both ends to be well spread: the low bits choose
/// the bucket, the high seven are compared first. A general hasher takes three times as long here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fold;

#[derive(Debug, Default)]
pub(crate) struct Folded(u64);

impl BuildHasher for Fold {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded::default()
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0.rotate_left(23) ^ value) * GOLDEN;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What is not spread costs time, and nothing else would show it.
    #[test]
    fn both_ends_are_spread() {
        for shift in [2, 52] {
            let hashes: Vec<_> = (0..4_096_u64).map(|hash| Fold.hash_one(hash << shift | 1)).collect();
            let buckets: HashSet<_> = hashes.iter().map(|hash| hash % 4_096).collect();
            assert!(buckets.len() > 2_000, "{} buckets", buckets.len());
            let compared_first: HashSet<_> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(compared_first.len() > 120, "{} of 128", compared_first.len());
        }
    }

    #[test]
    fn every_word_counts() {
        let words: HashSet<_> = (0..4_096_u64).map(|n| Fold.hash_one((n / 64, n % 64))).collect();
        let checks: HashSet<_> = (0..4_096_u32).map(|n| Fold.hash_one((n / 64, n % 64))).collect();
        let bytes: HashSet<_> = (0..4_096_u16).map(|n| Fold.hash_one(n.to_be_bytes())).collect();
        assert_eq!((words.len(), checks.len(), bytes.len()), (4_096, 4_096, 4_096));
    }
}
