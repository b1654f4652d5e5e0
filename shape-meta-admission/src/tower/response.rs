use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{RequestPermit, held::Held};
use crate::{Permit, Rejected};

/// Returns the response to a rejected request.
pub(super) fn rejection<R>(rejected: Rejected) -> Response<Admitted<R>> {
    let mut response = Response::new(Admitted { body: None, held: None });
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(rejected.retry_after_seconds()));
    response.extensions_mut().insert(rejected);
    response
}

pin_project! {
    /// The body of a response with the permit of its request: dropping it releases the permit. The body of a
    /// rejection is empty.
    pub struct Admitted<R> {
        // Before the permit, so that it is dropped first.
        #[pin]
        body: Option<R>,
        held: Option<Held>,
    }
}

impl<R> Admitted<R> {
    pub(super) fn new(body: R, held: Option<Held>) -> Self {
        Self { body: Some(body), held }
    }

    /// Returns the body of the service, unless the request was rejected, and the permit, if the request has
    /// one. For callers that tie the permit to something else, such as an upgraded connection, which outlives
    /// its body.
    pub fn into_parts(self) -> (Option<R>, Option<Permit>) {
        (self.body, self.held.and_then(Held::into_permit))
    }

    /// Returns the permit, for example to [switch](RequestPermit::switch_to) it.
    pub fn permit(&self) -> Option<&RequestPermit> {
        self.held.as_ref().map(Held::shared)
    }
}

impl<R: Body> Body for Admitted<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        self.project().body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<R> fmt::Debug for Admitted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("permit", &self.permit()).finish_non_exhaustive()
    }
}
