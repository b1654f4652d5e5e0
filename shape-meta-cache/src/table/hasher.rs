use std::hash::{BuildHasher, Hasher};

/// The hasher of the table: one folded multiplication for each word.
///
/// Its input is already a good hash (see [`Slots`](super::Slots)), but with a tag in the low bits, and with
/// the high bits cut off. The table needs both ends well distributed: the low bits select the bucket, and the
/// high seven bits are compared first. A general-purpose hasher takes three times as long here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BuildSlotHasher;

#[derive(Debug, Default)]
pub(crate) struct SlotHasher(u64);

impl BuildHasher for BuildSlotHasher {
    type Hasher = SlotHasher;

    fn build_hasher(&self) -> SlotHasher {
        SlotHasher::default()
    }
}

impl Hasher for SlotHasher {
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

    /// A bad distribution only costs time, so no other test would detect it.
    #[test]
    fn low_and_high_bits_are_well_distributed() {
        for shift in [2, 52] {
            let hashes: Vec<_> =
                (0..4_096_u64).map(|hash| BuildSlotHasher.hash_one(hash << shift | 1)).collect();
            let buckets: HashSet<_> = hashes.iter().map(|hash| hash % 4_096).collect();
            assert!(buckets.len() > 2_000, "{} buckets", buckets.len());
            let high_bits: HashSet<_> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(high_bits.len() > 120, "{} of 128", high_bits.len());
        }
    }

    #[test]
    fn every_word_changes_the_hash() {
        let words: HashSet<_> = (0..4_096_u64).map(|n| BuildSlotHasher.hash_one((n / 64, n % 64))).collect();
        let checks: HashSet<_> = (0..4_096_u32).map(|n| BuildSlotHasher.hash_one((n / 64, n % 64))).collect();
        let bytes: HashSet<_> = (0..4_096_u16).map(|n| BuildSlotHasher.hash_one(n.to_be_bytes())).collect();
        assert_eq!((words.len(), checks.len(), bytes.len()), (4_096, 4_096, 4_096));
    }
}
