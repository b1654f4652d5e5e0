use std::fmt;

use tower_layer::Layer;

use super::{AdmissionService, JsonRejection};
use crate::Admission;

/// A layer that adds admission control to an HTTP service: one of requests and responses of the crate `http`
/// 1, such as those of axum and hyper.
///
/// A rejected request does not reach the service. It is answered with 503, a `Retry-After` header in whole
/// seconds, and a [JSON body](crate::Rejected::to_json) with a code; [`on_rejection`](Self::on_rejection)
/// makes another response. The extensions of the response contain the [`Rejected`](crate::Rejected), for a
/// log.
///
/// An admitted request holds its permit until the *body* of its response is dropped, so that slow clients
/// count. If there is no response (the service fails or panics, or the future is dropped), the permit is
/// released at once. Until then, the handler can [move the request to another kind](crate::RequestPermit).
///
/// The service is ready when the inner service is ready. Put this layer outside of layers that make requests
/// wait, such as a concurrency limit; otherwise requests queue without being counted. If the inner service
/// reserves something when it is [ready](tower_service::Service::poll_ready), a rejected request leaves the
/// reservation to the next call.
///
/// ```
/// use http::Request;
/// use shape_meta_admission::{Admission, AdmissionLayer, Kind, AdmissionLimits};
///
/// let admission = Admission::new(AdmissionLimits::default());
/// let layer = AdmissionLayer::new(admission, |request: &Request<()>| {
///     let query = request.uri().query().unwrap_or_default();
///     match request.uri().path() {
///         "/health" => None, // never rejected
///         _ if query.contains("handle=") => Some(Kind::Existing),
///         _ => Some(Kind::Initial),
///     }
/// });
/// ```
#[derive(Clone)]
pub struct AdmissionLayer<F, J = JsonRejection> {
    admission: Admission,
    classify: F,
    respond: J,
}

impl<F> AdmissionLayer<F> {
    /// A layer with this admission. `classify` maps an `&http::Request<_>` to its kind; `None` is not
    /// limited.
    pub fn new(admission: Admission, classify: F) -> Self {
        Self { admission, classify, respond: JsonRejection }
    }
}

impl<F, J> AdmissionLayer<F, J> {
    /// Makes the response to a rejected request with this function: for another status or body, or a body
    /// type that cannot be made of a `String`. A `Retry-After` header is added if it is missing.
    ///
    /// ```
    /// use http::{Request, Response, StatusCode};
    /// use shape_meta_admission::{Admission, AdmissionLayer, AdmissionLimits, Kind, Rejected};
    ///
    /// let admission = Admission::new(AdmissionLimits::default());
    /// let layer = AdmissionLayer::new(admission, |_: &Request<()>| Some(Kind::Initial)).on_rejection(
    ///     |rejected: Rejected| {
    ///         let mut response = Response::new(format!("busy: {rejected}"));
    ///         *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    ///         response
    ///     },
    /// );
    /// ```
    pub fn on_rejection<G>(self, respond: G) -> AdmissionLayer<F, G> {
        AdmissionLayer { admission: self.admission, classify: self.classify, respond }
    }
}

impl<S, F: Clone, J: Clone> Layer<S> for AdmissionLayer<F, J> {
    type Service = AdmissionService<S, F, J>;

    fn layer(&self, inner: S) -> Self::Service {
        AdmissionService::new(inner, self.admission.clone(), self.classify.clone(), self.respond.clone())
    }
}

impl<F, J> fmt::Debug for AdmissionLayer<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionLayer").field(&self.admission).finish()
    }
}
