use std::fmt;

use tower_layer::Layer;

use super::AdmissionService;
use crate::Admission;

/// Puts admission control around a service of HTTP requests.
///
/// A request that is refused never reaches the service: it is answered with 503, a `Retry-After` header in whole
/// seconds, and an empty body; the [`Rejected`](crate::Rejected) is in the extensions of that response, for
/// whoever wants to write a body or a log. One that is admitted holds its permit until the *body* of its
/// response is dropped, so that a client which reads slowly still counts. Where no response comes
/// about (the service fails or panics, or the future is dropped), the permit is freed right then. While it lasts, whoever
/// handles the request can [move it to another kind](crate::RequestPermit).
///
/// It is ready when the service is, and waits as long as that one: put it outside of what makes requests wait, such as a limit
/// on concurrency, or requests queue up where nobody counts them. A service that reserves something when it is
/// [ready](tower_service::Service::poll_ready) keeps that for the next call if a request is refused.
///
/// ```
/// use http::Request;
/// use shape_meta_admission::{Admission, AdmissionLayer, Kind, AdmissionLimits};
///
/// let admission = Admission::new(AdmissionLimits::default());
/// let layer = AdmissionLayer::new(admission, |request: &Request<()>| {
///     let query = request.uri().query().unwrap_or_default();
///     match request.uri().path() {
///         "/health" => None, // never refused
///         _ if query.contains("handle=") => Some(Kind::Existing),
///         _ => Some(Kind::Initial),
///     }
/// });
/// ```
#[derive(Clone)]
pub struct AdmissionLayer<F> {
    admission: Admission,
    classify: F,
}

impl<F> AdmissionLayer<F> {
    /// Limits with this admission, by the kind that this function (of `&http::Request<_>`) says a request
    /// is of; `None` is never limited.
    pub fn new(admission: Admission, classify: F) -> Self {
        Self { admission, classify }
    }
}

impl<S, F: Clone> Layer<S> for AdmissionLayer<F> {
    type Service = AdmissionService<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        AdmissionService::new(inner, self.admission.clone(), self.classify.clone())
    }
}

impl<F> fmt::Debug for AdmissionLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionLayer").field(&self.admission).finish()
    }
}
