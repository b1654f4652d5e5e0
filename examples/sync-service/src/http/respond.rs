use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use shape_meta::Handle;

use crate::{error::Failure, log::Chunk};

/// Returns a part of a log, with its end if it is up to date.
pub(super) fn chunk(chunk: Chunk, last_seen: u64) -> Response {
    let mut body = Vec::with_capacity(chunk.messages.len() + 100);
    body.push(b'[');
    body.extend(&chunk.messages);
    if chunk.is_last {
        if !chunk.messages.is_empty() {
            body.push(b',');
        }
        body.extend(up_to_date(last_seen).as_bytes());
    }
    body.push(b']');
    let mut response = json(StatusCode::OK, body);
    set(&mut response, "electric-offset", &chunk.end.to_string());
    if chunk.is_last {
        set(&mut response, "electric-up-to-date", "");
    }
    response
}

/// The message that everything up to a position of the WAL was sent.
pub(super) fn up_to_date(last_seen: u64) -> String {
    format!(r#"{{"headers":{{"control":"up-to-date","global_last_seen_lsn":"{last_seen}"}}}}"#)
}

/// 409: the client has to start again, with another handle.
pub(super) fn must_refetch(handle: &Handle) -> Response {
    let mut response = json(StatusCode::CONFLICT, br#"[{"headers":{"control":"must-refetch"}}]"#.to_vec());
    set(&mut response, "electric-handle", handle);
    response
}

pub(super) fn failure(failure: &Failure) -> Response {
    let (status, retry_after) = match failure {
        Failure::Invalid(_) => (StatusCode::BAD_REQUEST, None),
        Failure::NotEnabled => (StatusCode::NOT_FOUND, None),
        Failure::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        Failure::Overloaded(_, seconds) => (StatusCode::SERVICE_UNAVAILABLE, Some(*seconds)),
    };
    let mut response =
        json(status, serde_json::json!({ "message": failure.to_string() }).to_string().into_bytes());
    if let Some(seconds) = retry_after {
        set(&mut response, "retry-after", &seconds.to_string());
    }
    response
}

pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sets a header. Texts that HTTP does not allow are left out.
pub(super) fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
