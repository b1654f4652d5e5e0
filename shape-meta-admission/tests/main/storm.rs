//! Many threads: permits neither leak nor double, and no limit is exceeded at any step.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use shape_meta_admission::{Admission, Kind, Permit};

use crate::admission;

const THREADS: usize = 8;

struct OnPurpose;

/// What the callers hold, counted by themselves: never more than the limiter says, and that never more
/// than the limit.
struct Held([AtomicU32; 2]);

impl Held {
    /// Counted after the permit was given out, so that it counts too few rather than too many.
    fn take(&self, admission: &Admission, kind: Kind) {
        let held = self.0[kind as usize].fetch_add(1, Ordering::SeqCst) + 1;
        let limit = admission.limits().of(kind);
        assert!(held <= limit, "{held} hold a permit of the kind {kind}, and the limit is {limit}");
        check(admission);
    }

    /// Counted before the permit is given back, for the same reason.
    fn give(&self, kind: Kind) {
        self.0[kind as usize].fetch_sub(1, Ordering::SeqCst);
    }
}

fn check(admission: &Admission) {
    let stats = admission.stats();
    for kind in Kind::ALL {
        let of = stats.of(kind);
        assert!(of.current <= of.limit, "{kind}: {of:?}");
    }
}

/// A permit that is counted by its holder too, however it ends.
struct Counted<'a> {
    permit: Permit,
    held: &'a Held,
    admission: &'a Admission,
}

impl<'a> Counted<'a> {
    fn acquire(admission: &'a Admission, held: &'a Held, kind: Kind) -> Option<Self> {
        let permit = admission.try_acquire(kind).ok()?;
        held.take(admission, kind);
        Some(Self { permit, held, admission })
    }

    fn switch_to(&mut self, kind: Kind) {
        let from = self.permit.kind();
        if from == kind {
            return;
        }
        self.held.give(from);
        match self.permit.switch_to(kind) {
            Ok(()) => self.held.take(self.admission, kind),
            Err(_) => self.held.take(self.admission, from),
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.held.give(self.permit.kind());
    }
}

/// A request as a future: it acquires when it is polled first, moves its permit when polled again, and ends
/// at the third time, if it gets that far.
async fn request(admission: &Admission, held: &Held, kind: Kind, to: Kind) {
    let Some(mut counted) = Counted::acquire(admission, held, kind) else { return };
    once_more().await;
    counted.switch_to(to);
    once_more().await;
}

fn once_more() -> impl Future<Output = ()> {
    let mut polled = false;
    poll_fn(move |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
}

fn kind(random: &mut fastrand::Rng) -> Kind {
    Kind::ALL[random.usize(..2)]
}

#[test]
fn permits_neither_leak_nor_double() {
    let admission = admission(6, 8);
    let held = Held([AtomicU32::new(0), AtomicU32::new(0)]);
    let (acquired, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Barrier::new(THREADS + 1);

    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            while !over.load(Ordering::Relaxed) {
                check(&admission);
                thread::yield_now();
            }
        });
        let workers: Vec<_> = (0..THREADS as u64)
            .map(|seed| {
                let (admission, held, acquired, start) = (&admission, &held, &acquired, &start);
                scope.spawn(move || {
                    start.wait();
                    work(admission, held, acquired, &mut fastrand::Rng::with_seed(seed));
                })
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        over.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.expect("no check failed"));
    });

    let stats = admission.stats();
    for kind in Kind::ALL {
        assert_eq!(stats.of(kind).current, 0, "{kind}: a permit has leaked");
        assert_eq!(held.0[kind as usize].load(Ordering::SeqCst), 0);
        assert!(stats.of(kind).rejected > 0, "{kind}: the limit was never met");
    }
    assert!(acquired.load(Ordering::Relaxed) > 10_000);
    // All places are there again, and not one more.
    for kind in Kind::ALL {
        let permits: Vec<_> = std::iter::from_fn(|| admission.try_acquire(kind).ok()).collect();
        assert_eq!(permits.len() as u32, admission.limits().of(kind));
    }
}

fn work(admission: &Admission, held: &Held, acquired: &AtomicU64, random: &mut fastrand::Rng) {
    let mut waiting: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        let (first, second) = (kind(random), kind(random));
        match random.u8(..8) {
            0 => waiting.push(Box::pin(request(admission, held, first, second))),
            1..=3 if !waiting.is_empty() => {
                let at = random.usize(..waiting.len());
                if waiting[at].as_mut().poll(&mut context).is_ready() {
                    drop(waiting.swap_remove(at));
                }
            }
            // Cancelled: perhaps before its first poll, perhaps with a permit.
            4 if !waiting.is_empty() => drop(waiting.swap_remove(random.usize(..waiting.len()))),
            5 => {
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    let Some(mut counted) = Counted::acquire(admission, held, first) else { return };
                    counted.switch_to(second);
                    std::panic::resume_unwind(Box::new(OnPurpose));
                }));
                // What a check said goes on.
                if let Err(panic) = unwound.or_else(|panic| panic.downcast::<OnPurpose>().map(|_| ())) {
                    std::panic::resume_unwind(panic);
                }
            }
            _ => {
                if let Some(mut counted) = Counted::acquire(admission, held, first) {
                    acquired.fetch_add(1, Ordering::Relaxed);
                    counted.switch_to(second);
                    if random.bool() {
                        thread::yield_now();
                    }
                    counted.switch_to(first);
                }
            }
        }
    }
}
