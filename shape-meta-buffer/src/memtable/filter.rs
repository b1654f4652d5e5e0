use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A bitmap of the hashes in one generation, with which a reader skips the overlay's lock.
///
/// A set bit means "look under the lock", a clear one "not here". Bits are set before the change is
/// acknowledged, and cleared all at once after the generation was published and dropped.
///
/// The rejected alternative is a table of counters that are decremented one by one: eight times as large,
/// where the flusher clears this one in a single pass of 128 KiB.
#[derive(Debug)]
pub(crate) struct Filter {
    bits: Box<[AtomicU64]>,
    /// A reset is pending: the generation has an answer for everything.
    all: AtomicBool,
}

impl Filter {
    /// A filter for about this many shapes, with 8 bits for each.
    ///
    /// Between 4 Ki and 1 Mi bits, so that many idle stores in one process stay small.
    pub(crate) fn for_shapes(shapes: usize) -> Self {
        let bits = shapes.saturating_mul(8).clamp(1 << 12, 1 << 20).next_power_of_two();
        Self { bits: (0..bits / 64).map(|_| AtomicU64::new(0)).collect(), all: AtomicBool::new(false) }
    }

    pub(crate) fn set(&self, hash: u64) {
        let (word, bit) = self.word_and_bit(hash);
        // Most bits of a busy filter are set already, and a load is cheaper than a write.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    pub(crate) fn set_all(&self) {
        self.all.store(true, Ordering::Release);
    }

    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let (word, bit) = self.word_and_bit(hash);
        // Acquire: a reader that sees a cleared bit must see what was published before it was cleared.
        word.load(Ordering::Acquire) & bit != 0 || self.all.load(Ordering::Acquire)
    }

    pub(crate) fn clear(&self) {
        for word in &self.bits {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Release);
            }
        }
        self.all.store(false, Ordering::Release);
    }

    fn word_and_bit(&self, hash: u64) -> (&AtomicU64, u64) {
        // The upper bits choose the word, since the hash tables of the generation use the lower ones.
        let word = (hash >> 32) as usize & (self.bits.len() - 1);
        (&self.bits[word], 1 << (hash >> 58))
    }
}
