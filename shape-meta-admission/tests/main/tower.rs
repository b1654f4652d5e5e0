//! The tower layer: 503 with Retry-After, and how long a request holds its permit.

use std::{
    cell::Cell,
    collections::VecDeque,
    convert::Infallible,
    future::{Future, Ready, pending, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use shape_meta_admission::{
    Admission, AdmissionLayer, AdmissionLimits, AdmissionService, JsonRejection, Kind, Permit, Rejected,
    RequestPermit, RetryAfter,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::admission;

/// A body of this number of frames.
#[derive(Debug, PartialEq)]
struct Frames(u64);

/// A frame for each byte of the body of a rejection.
impl From<String> for Frames {
    fn from(text: String) -> Self {
        Self(text.len() as u64)
    }
}

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

/// A service that calls a function.
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

fn service<F>(admission: &Admission, call: F) -> AdmissionService<Calls<F>, Classify, JsonRejection> {
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
fn a_rejected_request_gets_503_and_does_not_reach_the_service() {
    let retry = RetryAfter::default().min(Duration::from_millis(2001)).max(Duration::from_millis(2001));
    let admission = Admission::with_retry_after(AdmissionLimits { initial: 1, existing: 1 }, retry);
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
    assert_eq!(second.headers()["content-type"], "application/json");
    assert_eq!(second.body().size_hint().exact(), Some(rejected.to_json().len() as u64));
    assert_eq!(calls.get(), 1);

    assert_eq!(
        ready!(service.call(get("/existing"))).status(),
        StatusCode::OK,
        "the other kind has its own limit"
    );
    let health: Vec<_> = (0..5).map(|_| ready!(service.call(get("/health"))).status()).collect();
    assert_eq!(health, [StatusCode::OK; 5], "never limited");
}

#[test]
fn the_body_of_a_rejection_has_a_code() {
    let retry = RetryAfter::default().min(Duration::from_millis(2001)).max(Duration::from_millis(2001));
    let admission = Admission::with_retry_after(AdmissionLimits { initial: 0, existing: 1 }, retry);
    let rejected = admission.try_acquire(Kind::Initial).expect_err("the limit is zero");
    insta::assert_snapshot!(rejected.to_json());
}

#[test]
fn a_hook_makes_another_response() {
    let admission = admission(0, 0);
    let own = |rejected: Rejected| {
        let mut response = Response::new(Frames(u64::from(rejected.limit) + 5));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response
    };
    let layer = AdmissionLayer::new(admission.clone(), classify as Classify).on_rejection(own);
    let response = ready!(layer.layer(Calls(answer)).call(get("/initial")));
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(response.headers().contains_key("retry-after"), "the layer adds it");
    assert!(response.extensions().get::<Rejected>().is_some());

    let own = |_: Rejected| {
        let mut response = Response::new(Frames(0));
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("77"));
        response
    };
    let layer = AdmissionLayer::new(admission, classify as Classify).on_rejection(own);
    assert_eq!(ready!(layer.layer(Calls(answer)).call(get("/initial"))).headers()["retry-after"], "77");
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
    let response = ready!(service(&admission, answer).call(get("/initial")));
    response.body().permit().expect("limited").switch_to(Kind::Existing).expect("below the limit");
    let (body, permit) = response.into_body().into_parts();
    assert_eq!(body, Frames(2));
    assert_eq!(admission.stats().existing.current, 1);
    assert_eq!(permit.as_ref().map(Permit::kind), Some(Kind::Existing));
    drop(permit);
    assert_eq!(admission.stats().existing.current, 0);

    let unlimited = ready!(service(&admission, answer).call(get("/health")));
    assert!(unlimited.body().permit().is_none());
    let (body, permit) = unlimited.into_body().into_parts();
    assert_eq!((body, permit.is_none()), (Frames(2), true));
    let mut rejecting = AdmissionLayer::new(self::admission(0, 0), classify as Classify).layer(Calls(answer));
    let (_, permit) = ready!(rejecting.call(get("/initial"))).into_body().into_parts();
    assert!(permit.is_none());
}

#[test]
fn a_handler_can_move_the_permit_until_the_request_ends() {
    let admission = admission(1, 1);
    let kept = Cell::new(None);
    let mut service = service(&admission, |request: Request<()>| {
        let permit = request.extensions().get::<RequestPermit>().expect("limited").clone();
        assert_eq!(permit.kind(), Some(Kind::Initial));
        permit.switch_to(Kind::Existing).expect("below the limit");
        kept.set(Some(permit));
        answer(request)
    });
    let response = ready!(service.call(get("/initial")));
    assert_eq!(admission.stats().existing.current, 1);
    let permit = kept.take().expect("it was called");
    let other = admission.try_acquire(Kind::Initial).expect("the permit was moved away");
    let rejected = permit.switch_to(Kind::Initial).expect_err("the limit is reached again");
    assert_eq!((rejected.kind, permit.kind()), (Kind::Initial, Some(Kind::Existing)));

    drop(response);
    assert_eq!(admission.stats().existing.current, 0, "although a reference is left");
    assert_eq!(permit.kind(), None);
    permit.switch_to(Kind::Existing).expect("nothing happens");
    assert_eq!(admission.stats().existing.current, 0);
    drop(other);
}

/// A service with scripted readiness. Each call uses one reservation.
struct Reserving<'a> {
    ready: VecDeque<Poll<Result<(), &'static str>>>,
    reserved: &'a Cell<u32>,
}

impl Service<Request<()>> for Reserving<'_> {
    type Response = Response<Frames>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Frames>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let ready = self.ready.pop_front().expect("polled more often than expected");
        if ready == Poll::Ready(Ok(())) {
            self.reserved.set(1);
        }
        ready
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert_eq!(self.reserved.replace(0), 1, "called without being ready");
        answer(request)
    }
}

#[test]
fn readiness_is_that_of_the_service_and_survives_a_rejection() {
    let admission = admission(1, 1);
    let reserved = Cell::new(0);
    let ready = [Poll::Pending, Poll::Ready(Ok(())), Poll::Ready(Ok(())), Poll::Ready(Err("down"))].into();
    let inner = Reserving { ready, reserved: &reserved };
    let mut service = AdmissionLayer::new(admission.clone(), classify as Classify).layer(inner);
    let mut context = Context::from_waker(Waker::noop());

    assert_eq!(service.poll_ready(&mut context), Poll::Pending);
    assert_eq!(service.poll_ready(&mut context), Poll::Ready(Ok(())));
    assert_eq!(admission.stats().initial.acquired, 0, "only a call acquires a permit");
    let permit = admission.try_acquire(Kind::Initial).expect("below the limit");
    let rejected = ready!(service.call(get("/initial")));
    assert_eq!((rejected.status(), reserved.get()), (StatusCode::SERVICE_UNAVAILABLE, 1));
    drop(permit);

    assert_eq!(service.poll_ready(&mut context), Poll::Ready(Ok(())));
    assert_eq!(ready!(service.call(get("/initial"))).status(), StatusCode::OK);
    assert_eq!(service.poll_ready(&mut context), Poll::Ready(Err("down")));
}

#[test]
fn without_a_response_the_permit_is_released() {
    let admission = admission(1, 1);
    let current = || admission.stats().initial.current;

    let mut fails = service(&admission, |_| ready(Err("down")));
    let mut failed = pin!(fails.call(get("/initial")));
    let outcome = failed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err("down"))));
    assert_eq!(current(), 0, "although the future still exists");

    let panics = |_| -> Ready<Result<Response<Frames>, &'static str>> {
        std::panic::resume_unwind(Box::new("on purpose"))
    };
    let mut panics = service(&admission, panics);
    assert!(catch_unwind(AssertUnwindSafe(|| panics.call(get("/initial")))).is_err());
    assert_eq!(current(), 0);

    let mut panics = service(&admission, |_| {
        poll_fn(|_| -> Poll<Result<Response<Frames>, &'static str>> {
            std::panic::resume_unwind(Box::new("on purpose"))
        })
    });
    let mut panicked = pin!(panics.call(get("/initial")));
    assert_eq!(current(), 1);
    let poll = || panicked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
    assert_eq!(current(), 0, "although the future still exists");

    let mut hangs = service(&admission, |_| pending::<Result<Response<Frames>, &'static str>>());
    let mut hanging = Box::pin(hangs.call(get("/initial")));
    assert!(hanging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(current(), 1);
    drop(hanging);
    assert_eq!(current(), 0);
}

#[test]
fn permits_survive_thousands_of_requests_and_cancellations() {
    let admission = admission(300, 500);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let admission = &admission;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut service = service(admission, |_| {
                    let mut polls = 0;
                    poll_fn(move |_| {
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
