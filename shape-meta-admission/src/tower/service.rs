use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{AdmissionFuture, Admitted, held::Held};
use crate::{Admission, Kind};

/// The service of an [`AdmissionLayer`](crate::AdmissionLayer).
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
{
    type Response = Response<Admitted<R>>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let permit = (self.classify)(&request).map(|kind| self.admission.try_acquire(kind));
        let held = match permit.transpose() {
            Ok(permit) => permit.map(Held::new),
            Err(rejected) => return AdmissionFuture::rejected(rejected),
        };
        if let Some(held) = &held {
            request.extensions_mut().insert(held.shared().clone());
        }
        AdmissionFuture::admitted(self.inner.call(request), held)
    }
}

impl<S, F> fmt::Debug for AdmissionService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionService").field(&self.admission).finish()
    }
}
