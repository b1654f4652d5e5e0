use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use crate::Rejected;

/// Makes the response to a rejected request. Implemented by [`JsonRejection`], and by every
/// `Fn(Rejected) -> Response<R>`: see [`AdmissionLayer::on_rejection`](crate::AdmissionLayer::on_rejection).
pub trait RejectionResponse<R> {
    /// Returns the response. The layer adds the `Retry-After` header if it is missing, and the [`Rejected`]
    /// as an extension. Runs on the executor, so it must not block.
    fn response(&self, rejected: Rejected) -> Response<R>;
}

/// The default response: 503 with [`Rejected::to_json`] as its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonRejection;

impl<R: From<String>> RejectionResponse<R> for JsonRejection {
    fn response(&self, rejected: Rejected) -> Response<R> {
        let mut response = Response::new(R::from(rejected.to_json()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl<R, F: Fn(Rejected) -> Response<R>> RejectionResponse<R> for F {
    fn response(&self, rejected: Rejected) -> Response<R> {
        self(rejected)
    }
}

/// Returns the complete response to a rejected request.
pub(super) fn rejection<R>(rejected: Rejected, respond: &impl RejectionResponse<R>) -> Response<R> {
    let mut response = respond.response(rejected);
    let seconds = HeaderValue::from(rejected.retry_after_seconds());
    response.headers_mut().entry(RETRY_AFTER).or_insert(seconds);
    response.extensions_mut().insert(rejected);
    response
}
