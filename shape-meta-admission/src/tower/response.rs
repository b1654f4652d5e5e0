use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{Permit, Rejected};

/// The response of one who was refused.
pub(super) fn refusal<R: Default>(rejected: Rejected) -> Response<Admitted<R>> {
    let mut response = Response::new(Admitted::new(R::default(), None));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(rejected.retry_after_seconds()));
    response.extensions_mut().insert(rejected);
    response
}

pin_project! {
    /// The body of a response, with the permit of its request: dropping it frees the permit.
    pub struct Admitted<R> {
        // Before the permit, so that it is dropped before.
        #[pin]
        body: R,
        permit: Option<Permit>,
    }
}

impl<R> Admitted<R> {
    pub(super) fn new(body: R, permit: Option<Permit>) -> Self {
        Self { body, permit }
    }

    /// The body, and the permit if the request had one: for who keeps them together in another way.
    pub fn into_parts(self) -> (R, Option<Permit>) {
        (self.body, self.permit)
    }

    /// The permit, for example to [switch](Permit::switch_to) it.
    pub fn permit_mut(&mut self) -> Option<&mut Permit> {
        self.permit.as_mut()
    }
}

impl<R: Body> Body for Admitted<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<R> fmt::Debug for Admitted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("permit", &self.permit).finish_non_exhaustive()
    }
}
