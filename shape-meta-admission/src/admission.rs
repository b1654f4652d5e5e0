use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{AdmissionLimits, Kind, KindStats, Permit, Rejected, RetryAfter, Stats};

/// The limiter of one store. Clones share its state.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    limits: AdmissionLimits,
    retry_after: RetryAfter,
    /// The number of permits of both kinds in one word: `Initial` in the upper half, `Existing` in the lower.
    /// Each half stays within its limit, a `u32`, so it cannot overflow into the other.
    current: AtomicU64,
    totals: [Totals; 2],
}

#[derive(Default)]
struct Totals {
    acquired: AtomicU64,
    rejected: AtomicU64,
}

/// Returns one permit, in the half of its kind.
fn one(kind: Kind) -> u64 {
    match kind {
        Kind::Initial => 1 << 32,
        Kind::Existing => 1,
    }
}

/// Returns the number of permits of this kind in a word.
fn count(word: u64, kind: Kind) -> u32 {
    match kind {
        Kind::Initial => (word >> 32) as u32,
        Kind::Existing => word as u32,
    }
}

impl Admission {
    /// A limiter with the default [`RetryAfter`]: one to one and a half seconds.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self::with_retry_after(limits, RetryAfter::default())
    }

    /// A limiter with this [`RetryAfter`].
    pub fn with_retry_after(limits: AdmissionLimits, retry_after: RetryAfter) -> Self {
        let (current, totals) = (AtomicU64::new(0), Default::default());
        Self(Arc::new(Inner { limits, retry_after, current, totals }))
    }

    /// Admits a request, or rejects it at once. Never waits: an atomic update, some ten nanoseconds, and for
    /// a rejection also a call of the [`DrainRate`](crate::DrainRate).
    ///
    /// # Errors
    ///
    /// If the number of concurrent requests of this kind has reached the limit.
    ///
    /// # Panics
    ///
    /// If the [`DrainRate`](crate::DrainRate) panics. No count is wrong then.
    pub fn try_acquire(&self, kind: Kind) -> Result<Permit, Rejected> {
        self.try_add(kind, one(kind))?;
        Ok(Permit::new(self.clone(), kind))
    }

    /// Moves one permit from one kind to the other.
    pub(crate) fn switch(&self, from: Kind, to: Kind) -> Result<(), Rejected> {
        // The permit is still counted in `from`, so the subtraction does not borrow from the other half.
        self.try_add(to, one(to).wrapping_sub(one(from)))
    }

    /// Adds a value to the word, if this kind is below its limit.
    ///
    /// Check and addition are one step. Adding first and undoing it above the limit would exceed the limit
    /// for a moment, and could reject other requests below the limit.
    fn try_add(&self, kind: Kind, add: u64) -> Result<(), Rejected> {
        let Inner { limits, current, .. } = &*self.0;
        let limit = limits.of(kind);
        // Acquire, paired with the release in `release`: a new holder sees what the previous one did.
        let admitted = current.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
            (count(word, kind) < limit).then(|| word.wrapping_add(add))
        });
        let totals = self.totals(kind);
        match admitted {
            Ok(_) => {
                totals.acquired.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(word) => {
                totals.rejected.fetch_add(1, Ordering::Relaxed);
                let retry_after = self.0.retry_after.delay();
                Err(Rejected { kind, limit, current: count(word, kind), retry_after })
            }
        }
    }

    /// Returns a permit. Called once for each, when it is dropped.
    pub(crate) fn release(&self, kind: Kind) {
        let before = self.0.current.fetch_sub(one(kind), Ordering::AcqRel);
        debug_assert_ne!(count(before, kind), 0, "a permit was freed twice");
    }

    /// Returns the counts since the limiter was created. Costs two atomic reads for each kind.
    pub fn stats(&self) -> Stats {
        let word = self.0.current.load(Ordering::Acquire);
        let of = |kind| {
            let Totals { acquired, rejected } = self.totals(kind);
            KindStats {
                acquired: acquired.load(Ordering::Relaxed),
                rejected: rejected.load(Ordering::Relaxed),
                current: count(word, kind),
                limit: self.0.limits.of(kind),
            }
        };
        Stats { initial: of(Kind::Initial), existing: of(Kind::Existing) }
    }

    /// Returns the limits.
    pub fn limits(&self) -> AdmissionLimits {
        self.0.limits
    }

    fn totals(&self, kind: Kind) -> &Totals {
        let [initial, existing] = &self.0.totals;
        match kind {
            Kind::Initial => initial,
            Kind::Existing => existing,
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admission").field(&self.stats()).finish()
    }
}
