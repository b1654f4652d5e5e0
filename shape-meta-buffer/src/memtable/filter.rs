use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One bit for each hash that a generation may know: what lets a reader pass the overlay without its lock.
///
/// A set bit means "ask under the lock", a clear one "certainly not here". Bits are set before the change
/// is acknowledged, and cleared all at once after the generation was published below and dropped.
///
/// Measured against a table of counters that are taken back one by one: eight times as dense, and the
/// flusher clears it with one pass of 128 KiB.
#[derive(Debug)]
pub(crate) struct Filter {
    bits: Box<[AtomicU64]>,
    /// A reset is pending: the generation has an answer for everything.
    all: AtomicBool,
}

impl Filter {
    /// For about so many shapes at 8 bits each; between 4 Ki and 1 Mi bits, so that many idle stores in one
    /// process stay small.
    pub(crate) fn for_shapes(shapes: usize) -> Self {
        let bits = shapes.saturating_mul(8).clamp(1 << 12, 1 << 20).next_power_of_two();
        Self { bits: (0..bits / 64).map(|_| AtomicU64::new(0)).collect(), all: AtomicBool::new(false) }
    }

    pub(crate) fn set(&self, hash: u64) {
        let (word, bit) = self.place(hash);
        // Most bits of a busy filter are set already, and looking is cheaper than writing.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    pub(crate) fn set_all(&self) {
        self.all.store(true, Ordering::Release);
    }

    pub(crate) fn may_know(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        // Acquire: a reader that sees a bit cleared must see what was published before it was.
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

    fn place(&self, hash: u64) -> (&AtomicU64, u64) {
        // The top bits name the word, since the tables below use the low ones.
        let word = (hash >> 32) as usize & (self.bits.len() - 1);
        (&self.bits[word], 1 << (hash >> 58))
    }
}
