use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{AdmissionFuture, Admitted};
use crate::{Admission, Kind};

/// The service that [`AdmissionLayer`](crate::AdmissionLayer) makes.
#[derive(Clone)]
pub struct AdmissionService<S, F> {
    inner: S,
    admission: Admission,
    classify: F,
}

impl<S, F> AdmissionService<S, F> {
    pub(super) fn new(inner: S, admission: Admission, classify: F) -> Self {
        Self { inner, admission, classify }
    }
}

impl<S, F, B, R> Service<Request<B>> for AdmissionService<S, F>
where
    S: Service<Request<B>, Response = Response<R>>,
    F: Fn(&Request<B>) -> Option<Kind>,
    R: Default,
{
    type Response = Response<Admitted<R>>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let permit = (self.classify)(&request).map(|kind| self.admission.try_acquire(kind));
        match permit.transpose() {
            Ok(permit) => AdmissionFuture::admitted(self.inner.call(request), permit),
            Err(rejected) => AdmissionFuture::rejected(rejected),
        }
    }
}

impl<S, F> fmt::Debug for AdmissionService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionService").field(&self.admission).finish()
    }
}
