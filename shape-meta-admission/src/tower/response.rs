use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{RequestPermit, held::Held};
use crate::Permit;

pin_project! {
    /// The body of a response with the permit of its request: dropping it releases the permit. A rejection
    /// has no permit.
    pub struct Admitted<R> {
        // Before the permit, so that it is dropped first.
        #[pin]
        body: R,
        held: Option<Held>,
    }
}

impl<R> Admitted<R> {
    pub(super) fn new(body: R, held: Option<Held>) -> Self {
        Self { body, held }
    }

    /// Returns the body, and the permit if the request has one. For callers that tie the permit to something
    /// else, such as an upgraded connection, which outlives its body.
    pub fn into_parts(self) -> (R, Option<Permit>) {
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
        f.debug_struct("Admitted").field("permit", &self.permit()).finish_non_exhaustive()
    }
}
