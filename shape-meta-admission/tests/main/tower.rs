//! The layer: 503 with Retry-After, and how long a request holds its permit.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, Ready, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use shape_meta_admission::{Admission, AdmissionLayer, AdmissionService, Kind, Limits, Rejected, RetryAfter};
use tower_layer::Layer;
use tower_service::Service;

use crate::admission;

/// A body of so many frames.
#[derive(Debug, Default, PartialEq)]
struct Frames(u64);

impl Body for Frames {
    type Data = std::io::Cursor<Vec<u8>>;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(std::io::Cursor::new(vec![7])))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// A service that this function is.
#[derive(Clone)]
struct Calls<F>(F);

impl<F, T, E> Service<Request<()>> for Calls<F>
where
    F: FnMut(Request<()>) -> T,
    T: Future<Output = Result<Response<Frames>, E>>,
{
    type Response = Response<Frames>;
    type Error = E;
    type Future = T;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> T {
        (self.0)(request)
    }
}

type Classify = fn(&Request<()>) -> Option<Kind>;

fn classify(request: &Request<()>) -> Option<Kind> {
    match request.uri().path() {
        "/initial" => Some(Kind::Initial),
        "/existing" => Some(Kind::Existing),
        _ => None,
    }
}

fn service<F>(admission: &Admission, call: F) -> AdmissionService<Calls<F>, Classify> {
    AdmissionLayer::new(admission.clone(), classify as Classify).layer(Calls(call))
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).expect("a request")
}

fn answer(_: Request<()>) -> Ready<Result<Response<Frames>, &'static str>> {
    ready(Ok(Response::new(Frames(2))))
}

fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

macro_rules! ready {
    ($future:expr) => {
        match now($future) {
            Poll::Ready(Ok(response)) => response,
            _ => panic!("no response"),
        }
    };
}

#[test]
fn a_refusal_is_503_with_retry_after_and_does_not_reach_the_service() {
    let retry = RetryAfter::default().min(Duration::from_millis(2001)).max(Duration::from_millis(2001));
    let admission = Admission::with_retry_after(Limits { initial: 1, existing: 1 }, retry);
    let calls = Cell::new(0);
    let mut service = service(&admission, |request| {
        calls.set(calls.get() + 1);
        answer(request)
    });
    let first = ready!(service.call(get("/initial")));
    assert_eq!(first.status(), StatusCode::OK);

    let second = ready!(service.call(get("/initial")));
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.headers()["retry-after"], "3");
    let rejected = second.extensions().get::<Rejected>().expect("for a body or a log");
    assert_eq!((rejected.kind, rejected.limit, rejected.current), (Kind::Initial, 1, 1));
    assert!(second.body().is_end_stream());
    assert_eq!(calls.get(), 1);

    assert_eq!(ready!(service.call(get("/existing"))).status(), StatusCode::OK, "the other kind");
    let health: Vec<_> = (0..5).map(|_| ready!(service.call(get("/health"))).status()).collect();
    assert_eq!(health, [StatusCode::OK; 5], "never limited");
}

#[test]
fn a_permit_lives_as_long_as_the_body() {
    let admission = admission(1, 1);
    let mut service = service(&admission, answer);
    let current = || admission.stats().initial.current;

    let future = service.call(get("/initial"));
    assert_eq!(current(), 1, "from the call on");
    let response = ready!(future);
    let (parts, mut body) = response.into_parts();
    drop(parts);
    assert_eq!(body.size_hint().exact(), Some(2));
    let mut frames = 0;
    while let Poll::Ready(Some(frame)) =
        Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()))
    {
        assert!(frame.is_ok());
        assert_eq!(current(), 1);
        frames += 1;
    }
    assert_eq!((frames, body.is_end_stream()), (2, true));
    drop(body);
    assert_eq!(current(), 0);
}

#[test]
fn a_permit_can_be_moved_and_taken_from_the_response() {
    let admission = admission(1, 1);
    let mut response = ready!(service(&admission, answer).call(get("/initial")));
    let permit = response.body_mut().permit_mut().expect("limited");
    permit.switch_to(Kind::Existing).expect("room");
    let (body, permit) = response.into_body().into_parts();
    assert_eq!(body, Frames(2));
    assert_eq!(admission.stats().existing.current, 1);
    drop(permit);
    assert_eq!(admission.stats().existing.current, 0);
}

#[test]
fn where_no_response_comes_about_the_permit_is_free() {
    let admission = admission(1, 1);
    let current = || admission.stats().initial.current;

    let mut fails = service(&admission, |_| ready(Err("down")));
    let mut failed = pin!(fails.call(get("/initial")));
    let outcome = failed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err("down"))));
    assert_eq!(current(), 0, "although the future is still there");

    let panics = |_| -> Ready<Result<Response<Frames>, &'static str>> {
        std::panic::resume_unwind(Box::new("on purpose"))
    };
    let mut panics = service(&admission, panics);
    assert!(catch_unwind(AssertUnwindSafe(|| panics.call(get("/initial")))).is_err());
    assert_eq!(current(), 0);

    let mut hangs = service(&admission, |_| pending::<Result<Response<Frames>, &'static str>>());
    let mut hanging = Box::pin(hangs.call(get("/initial")));
    assert!(hanging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(current(), 1);
    drop(hanging);
    assert_eq!(current(), 0);
}

#[test]
fn thousands_of_requests_and_cancellations() {
    let admission = admission(300, 500);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let admission = &admission;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut service = service(admission, |_| {
                    let mut polls = 0;
                    std::future::poll_fn(move |_| {
                        polls += 1;
                        let response = || Ok::<_, Infallible>(Response::new(Frames(1)));
                        if polls > 2 { Poll::Ready(response()) } else { Poll::Pending }
                    })
                });
                let (mut waiting, mut bodies) = (Vec::new(), Vec::new());
                for _ in 0..20_000 {
                    match random.u8(..6) {
                        0 | 1 => {
                            let path = ["/initial", "/existing"][random.usize(..2)];
                            waiting.push(Box::pin(service.call(get(path))));
                        }
                        2 | 3 if !waiting.is_empty() => {
                            let at = random.usize(..waiting.len());
                            let mut context = Context::from_waker(Waker::noop());
                            if let Poll::Ready(Ok(response)) = waiting[at].as_mut().poll(&mut context) {
                                drop(waiting.swap_remove(at));
                                bodies.push(response.into_body());
                            }
                        }
                        4 if !waiting.is_empty() => {
                            drop(waiting.swap_remove(random.usize(..waiting.len())));
                        }
                        _ if !bodies.is_empty() => {
                            drop(bodies.swap_remove(random.usize(..bodies.len())));
                        }
                        _ => {}
                    }
                    let stats = admission.stats();
                    assert!(stats.initial.current <= 300 && stats.existing.current <= 500, "{stats:?}");
                }
            });
        }
    });
    let stats = admission.stats();
    assert_eq!((stats.initial.current, stats.existing.current), (0, 0));
    assert!(stats.initial.rejected > 0 && stats.initial.acquired > 1000, "{stats:?}");
}
