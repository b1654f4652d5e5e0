use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;

use super::{Admitted, RejectionResponse, held::Held, rejection::rejection};
use crate::Rejected;

pin_project! {
    /// The response future of an [`AdmissionService`](crate::AdmissionService). Dropping it releases the
    /// permit.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct AdmissionFuture<F, J> {
        #[pin]
        state: State<F, J>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, J> {
        // The future before the permit: fields are dropped in their order, and the resources of the future
        // must be freed before the permit is released.
        Admitted { #[pin] inner: F, permit: Option<Held> },
        Rejected { rejected: Rejected, respond: J },
    }
}

impl<F, J> AdmissionFuture<F, J> {
    pub(super) fn admitted(inner: F, permit: Option<Held>) -> Self {
        Self { state: State::Admitted { inner, permit } }
    }

    pub(super) fn rejected(rejected: Rejected, respond: J) -> Self {
        Self { state: State::Rejected { rejected, respond } }
    }
}

impl<F, J, R, E> Future for AdmissionFuture<F, J>
where
    F: Future<Output = Result<Response<R>, E>>,
    J: RejectionResponse<R>,
{
    type Output = Result<Response<Admitted<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Admitted { inner, permit } => {
                // Moved to the stack during the poll. If the future panics, the permit is released, even if
                // the caller catches the panic and keeps the future.
                let held = permit.take();
                match inner.poll(context) {
                    Poll::Pending => {
                        *permit = held;
                        Poll::Pending
                    }
                    Poll::Ready(outcome) => {
                        Poll::Ready(outcome.map(|response| response.map(|body| Admitted::new(body, held))))
                    }
                }
            }
            StateProjected::Rejected { rejected, respond } => {
                let response = rejection(*rejected, respond);
                Poll::Ready(Ok(response.map(|body| Admitted::new(body, None))))
            }
        }
    }
}

impl<F, J> fmt::Debug for AdmissionFuture<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionFuture").finish_non_exhaustive()
    }
}
