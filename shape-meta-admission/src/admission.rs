use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{AdmissionLimits, Kind, KindStats, Permit, Rejected, RetryAfter, Stats};

/// The limiter of one stack. Clones share it.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    limits: AdmissionLimits,
    retry_after: RetryAfter,
    /// How many permits are out, both kinds in one word: those of `Initial` in the upper half, those of
    /// `Existing` in the lower. No half exceeds its limit, a `u32`, so that none flows over into the other.
    current: AtomicU64,
    totals: [Totals; 2],
}

#[derive(Default)]
struct Totals {
    acquired: AtomicU64,
    rejected: AtomicU64,
}

/// One permit, in the half of its kind.
fn one(kind: Kind) -> u64 {
    match kind {
        Kind::Initial => 1 << 32,
        Kind::Existing => 1,
    }
}

/// How many permits of this kind a word counts.
fn count(word: u64, kind: Kind) -> u32 {
    match kind {
        Kind::Initial => (word >> 32) as u32,
        Kind::Existing => word as u32,
    }
}

impl Admission {
    /// A limiter with the usual way to say when to come again: after one to one and a half seconds.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self::with_retry_after(limits, RetryAfter::default())
    }

    /// A limiter that says when to come again in this way.
    pub fn with_retry_after(limits: AdmissionLimits, retry_after: RetryAfter) -> Self {
        let (current, totals) = (AtomicU64::new(0), Default::default());
        Self(Arc::new(Inner { limits, retry_after, current, totals }))
    }

    /// Admits a request, or refuses it at once.
    ///
    /// # Errors
    ///
    /// If as many requests of that kind are being worked on as the limit allows.
    pub fn try_acquire(&self, kind: Kind) -> Result<Permit, Rejected> {
        self.count_in(kind, one(kind))?;
        Ok(Permit::new(self.clone(), kind))
    }

    /// Moves one permit from one kind to another.
    pub(crate) fn switch(&self, from: Kind, to: Kind) -> Result<(), Rejected> {
        // The permit is still counted in `from`, so that taking it away there borrows nothing.
        self.count_in(to, one(to).wrapping_sub(one(from)))
    }

    /// Adds this to the word, if that leaves room for one more of this kind.
    ///
    /// Looked at and added in one step: adding first and taking back what is too much would refuse others who had
    /// room, and let the count stand above the limit for a moment.
    fn count_in(&self, kind: Kind, add: u64) -> Result<(), Rejected> {
        let Inner { limits, current, .. } = &*self.0;
        let limit = limits.of(kind);
        // Acquire, with the release in `release`: who takes a place sees what its last holder did.
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

    /// Called once for each permit, when it is dropped.
    pub(crate) fn release(&self, kind: Kind) {
        let before = self.0.current.fetch_sub(one(kind), Ordering::AcqRel);
        debug_assert_ne!(count(before, kind), 0, "a permit was freed twice");
    }

    /// What it has done so far. Two atomic reads a kind; call it as often as you like.
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

    /// The limits.
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
