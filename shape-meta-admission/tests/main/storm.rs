//! Many threads: permits neither leak nor are released twice, and no limit is exceeded at any step.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
};

use shape_meta_admission::{Admission, Kind, KindStats, Permit};

use crate::admission;

const THREADS: usize = 8;

struct OnPurpose;

/// The permits that the callers hold, by their own count: at most the count of the limiter, which is at most
/// the limit.
struct Held([AtomicU32; 2]);

impl Held {
    /// Counts a permit after it was acquired, so that the count is too low rather than too high.
    fn add(&self, admission: &Admission, kind: Kind) {
        let held = self.0[kind as usize].fetch_add(1, Ordering::SeqCst) + 1;
        let limit = admission.limits().of(kind);
        assert!(held <= limit, "{held} permits of the kind {kind} are held, and the limit is {limit}");
        check(admission);
    }

    /// Uncounts a permit before it is released, for the same reason.
    fn remove(&self, kind: Kind) {
        self.0[kind as usize].fetch_sub(1, Ordering::SeqCst);
    }
}

fn check(admission: &Admission) {
    let stats = admission.stats();
    for kind in Kind::ALL {
        let stats = stats.of(kind);
        assert!(stats.current <= stats.limit, "{kind}: {stats:?}");
    }
}

/// A permit that its holder counts as well, however it ends.
struct Counted<'a> {
    permit: Permit,
    held: &'a Held,
    admission: &'a Admission,
}

impl<'a> Counted<'a> {
    fn acquire(admission: &'a Admission, held: &'a Held, kind: Kind) -> Option<Self> {
        let permit = admission.try_acquire(kind).ok()?;
        held.add(admission, kind);
        Some(Self { permit, held, admission })
    }

    fn switch_to(&mut self, kind: Kind) {
        let from = self.permit.kind();
        if from == kind {
            return;
        }
        self.held.remove(from);
        match self.permit.switch_to(kind) {
            Ok(()) => self.held.add(self.admission, kind),
            Err(_) => self.held.add(self.admission, from),
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.held.remove(self.permit.kind());
    }
}

type Request<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A request as a future. The first poll acquires a permit, the second one moves it, and the third one ends
/// the request.
async fn request(admission: &Admission, held: &Held, kind: Kind, to: Kind) {
    let Some(mut counted) = Counted::acquire(admission, held, kind) else { return };
    yield_once().await;
    counted.switch_to(to);
    yield_once().await;
}

fn yield_once() -> impl Future<Output = ()> {
    let mut polled = false;
    poll_fn(move |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
}

fn kind(random: &mut fastrand::Rng) -> Kind {
    Kind::ALL[random.usize(..2)]
}

#[test]
fn permits_neither_leak_nor_are_released_twice() {
    let admission = admission(6, 8);
    let held = Held([AtomicU32::new(0), AtomicU32::new(0)]);
    let (acquired, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Barrier::new(THREADS + 1);

    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            while !done.load(Ordering::Relaxed) {
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
        done.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.expect("no check failed"));
    });

    assert!(acquired.load(Ordering::Relaxed) > 10_000);
    assert_all_released(&admission, &held);
}

/// Asserts that all permits can be acquired again, and not one more.
fn assert_all_released(admission: &Admission, held: &Held) {
    let stats = admission.stats();
    for kind in Kind::ALL {
        assert_eq!(stats.of(kind).current, 0, "{kind}: a permit has leaked");
        assert_eq!(held.0[kind as usize].load(Ordering::SeqCst), 0);
        assert!(stats.of(kind).rejected > 0, "{kind}: the limit was never reached");
        let permits: Vec<_> = std::iter::from_fn(|| admission.try_acquire(kind).ok()).collect();
        assert_eq!(permits.len() as u32, admission.limits().of(kind));
    }
}

/// Requests of each thread, half of each kind.
const REQUESTS: usize = 5_000;

/// 40,000 requests, of which 8,000 are admitted. These hold their permits at the same time, and then end in
/// every way in which a request can end.
#[test]
fn thousands_of_concurrent_requests_end_in_every_way() {
    let admission = admission(2_000, 6_000);
    let held = Held([AtomicU32::new(0), AtomicU32::new(0)]);
    let start = || {
        let mut context = Context::from_waker(Waker::noop());
        let kinds = Kind::ALL.into_iter().cycle().take(REQUESTS);
        let requests = kinds.map(|kind| Box::pin(request(&admission, &held, kind, Kind::Existing)) as _);
        let mut requests: Vec<Request<'_>> = requests.collect();
        requests.retain_mut(|request| request.as_mut().poll(&mut context).is_pending());
        requests
    };
    let started: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no check failed")).collect()
    });
    assert_eq!(started.iter().map(Vec::len).sum::<usize>(), 8_000);
    let stats = admission.stats();
    for kind in Kind::ALL {
        let KindStats { acquired, rejected, current, limit } = stats.of(kind);
        assert_eq!((acquired, current), (limit.into(), limit), "{kind}");
        assert_eq!(acquired + rejected, (THREADS * REQUESTS / 2) as u64, "{kind}");
    }

    let (hand_over, handed): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
    thread::scope(|scope| {
        for (at, (requests, handed)) in started.into_iter().zip(handed).enumerate() {
            let neighbour = hand_over[(at + 1) % THREADS].clone();
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(at as u64);
                for request in requests {
                    end(request, &neighbour, &mut random);
                }
                drop(neighbour);
                for request in handed {
                    end_here(request, &mut random);
                }
            });
        }
        drop(hand_over);
    });
    assert_all_released(&admission, &held);
}

fn end<'a>(mut request: Request<'a>, neighbour: &mpsc::Sender<Request<'a>>, random: &mut fastrand::Rng) {
    let mut context = Context::from_waker(Waker::noop());
    // Some try to move their permit first.
    if random.bool() {
        let _ = request.as_mut().poll(&mut context);
    }
    match random.bool() {
        true => neighbour.send(request).expect("it receives until all have ended"),
        false => end_here(request, random),
    }
}

fn end_here(mut request: Request<'_>, random: &mut fastrand::Rng) {
    let mut context = Context::from_waker(Waker::noop());
    match random.u8(..4) {
        0 => drop(request),
        // A time-out: the polling future drops the request within its own poll.
        1 => {
            let mut limited = Some(request);
            let mut timed_out = pin!(poll_fn(|context| {
                let _ = limited.as_mut().map(|request| request.as_mut().poll(context));
                drop(limited.take());
                Poll::Ready(())
            }));
            assert!(timed_out.as_mut().poll(&mut context).is_ready());
        }
        2 => {
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _request = request;
                std::panic::resume_unwind(Box::new(OnPurpose));
            }));
            assert!(unwound.is_err());
        }
        _ => while request.as_mut().poll(&mut context).is_pending() {},
    }
}

fn work(admission: &Admission, held: &Held, acquired: &AtomicU64, random: &mut fastrand::Rng) {
    let mut waiting: Vec<Request<'_>> = Vec::new();
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
            // Cancelled, before the first poll or with a permit.
            4 if !waiting.is_empty() => drop(waiting.swap_remove(random.usize(..waiting.len()))),
            5 => {
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    let Some(mut counted) = Counted::acquire(admission, held, first) else { return };
                    counted.switch_to(second);
                    std::panic::resume_unwind(Box::new(OnPurpose));
                }));
                // A failed check is passed on.
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
