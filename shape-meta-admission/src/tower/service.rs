use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{AdmissionFuture, Admitted, RejectionResponse, held::Held};
use crate::{Admission, Kind};

/// The service of an [`AdmissionLayer`](crate::AdmissionLayer).
#[derive(Clone)]
pub struct AdmissionService<S, F, J> {
    inner: S,
    admission: Admission,
    classify: F,
    respond: J,
}

impl<S, F, J> AdmissionService<S, F, J> {
    pub(super) fn new(inner: S, admission: Admission, classify: F, respond: J) -> Self {
        Self { inner, admission, classify, respond }
    }
}

impl<S, F, J, B, R> Service<Request<B>> for AdmissionService<S, F, J>
where
    S: Service<Request<B>, Response = Response<R>>,
    F: Fn(&Request<B>) -> Option<Kind>,
    J: RejectionResponse<R> + Clone,
{
    type Response = Response<Admitted<R>>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future, J>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let permit = (self.classify)(&request).map(|kind| self.admission.try_acquire(kind));
        let held = match permit.transpose() {
            Ok(permit) => permit.map(Held::new),
            Err(rejected) => return AdmissionFuture::rejected(rejected, self.respond.clone()),
        };
        if let Some(held) = &held {
            request.extensions_mut().insert(held.shared().clone());
        }
        AdmissionFuture::admitted(self.inner.call(request), held)
    }
}

impl<S, F, J> fmt::Debug for AdmissionService<S, F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionService").field(&self.admission).finish()
    }
}
