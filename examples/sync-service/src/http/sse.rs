//! Live changes as server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::value::RawValue;
use shape_meta::Handle;
use tokio::{sync::watch, time::Instant};

use super::{respond, serve::Service};
use crate::log::{After, Offset};

/// The time after which a stream ends, and its client connects again.
const DURATION: Duration = Duration::from_secs(60);
/// The time between comments that keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

struct Events {
    service: Arc<Service>,
    handle: Handle,
    changes: watch::Receiver<u64>,
    after: After,
    end: Instant,
    ready: VecDeque<Bytes>,
    has_started: bool,
}

/// Returns a stream of the changes after an offset.
pub(super) fn response(
    service: Arc<Service>,
    handle: Handle,
    changes: watch::Receiver<u64>,
    after: After,
) -> Response {
    let offset =
        if let After::Offset(offset) = after { offset } else { Offset { transaction: 0, position: 0 } };
    let end = Instant::now() + DURATION;
    let events = Events { service, handle, changes, after, end, ready: VecDeque::new(), has_started: false };
    let stream = stream::unfold(events, |mut events| async move {
        let next = events.next().await?;
        Some((Ok::<_, Infallible>(next), events))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::set(&mut response, "electric-offset", &offset.to_string());
    response
}

impl Events {
    /// Returns the next bytes of the stream. `None` at its end: also if the shape was removed, which the next
    /// request of the client reports.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            self.changes.mark_unchanged();
            let metadata = &self.service.metadata;
            if metadata.is_broken(&self.handle)
                || !metadata.is_live(&self.handle)
                || Instant::now() >= self.end
            {
                return None;
            }
            let last_seen = self.service.last_seen(self.after);
            let part = self.service.read(&self.handle, self.after).await.ok()??;
            let is_news = !part.messages.is_empty() || !self.has_started;
            self.after = After::Offset(part.end);
            self.has_started = true;
            if is_news {
                self.push(&part.messages)?;
                if part.is_last {
                    self.ready.push_back(event(&respond::up_to_date(last_seen.max(part.end.transaction))));
                }
                continue;
            }
            let until = self.end.min(Instant::now() + KEEP_ALIVE);
            if !self.service.wait(&self.handle, &mut self.changes, until).await.ok()? {
                if *self.service.closing.borrow() {
                    return None;
                }
                return Some(Bytes::from_static(b": keep-alive\n\n"));
            }
        }
    }

    fn push(&mut self, messages: &[u8]) -> Option<()> {
        let list = [b"[", messages, b"]"].concat();
        let messages: Vec<&RawValue> = serde_json::from_slice(&list).ok()?;
        self.ready.extend(messages.into_iter().map(|message| event(message.get())));
        Some(())
    }
}

fn event(message: &str) -> Bytes {
    format!("data: {message}\n\n").into()
}
