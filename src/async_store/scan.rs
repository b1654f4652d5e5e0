use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use shape_meta_core::{ReadShapes, Result, ScanItem};

use super::{
    Workers,
    queue::{CallQueue, panicked},
};

/// How many shapes are read ahead of the consumer.
const READ_AHEAD: usize = 64;

/// A stream over the shapes that were live when its thread began, in order of creation:
/// [`ReadShapes::scan`] on a thread of the store.
///
/// At most 64 shapes are in memory, however slow the consumer is. Consume it soon or drop it: it keeps a
/// thread, and a connection that keeps SQLite from resetting its WAL. Two streams of a store are read at the
/// same time; a third one begins when one of them has ended.
///
/// Nothing happens before the first poll. Dropping it ends the read below after the current page.
///
/// After an error the stream ends.
pub struct ScanStream(State);

enum State {
    /// Waits for room in the queue.
    Queued(Pin<Box<dyn Future<Output = Result<()>> + Send>>, Option<flume::Receiver<Item>>),
    Reading(flume::r#async::RecvStream<'static, Item>),
    Ended,
}

/// What the thread sends. An end is said, so that a read which was cut short is no end.
enum Item {
    Shape(Result<ScanItem>),
    End,
}

impl ScanStream {
    pub(super) fn new<S: ReadShapes + 'static>(store: S, workers: &Workers) -> Self {
        let (sender, receiver) = flume::bounded(READ_AHEAD);
        let queue: std::sync::Arc<CallQueue> = std::sync::Arc::clone(workers.scans());
        let call = Box::new(move || send_all(&store, &sender));
        Self(State::Queued(Box::pin(async move { queue.push(call).await }), Some(receiver)))
    }

    /// Waits for the next shape; `None` after the last one. For callers without a library of stream methods.
    pub async fn next(&mut self) -> Option<Result<ScanItem>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn end(&mut self, last: Option<Result<ScanItem>>) -> Poll<Option<Result<ScanItem>>> {
        self.0 = State::Ended;
        Poll::Ready(last)
    }
}

/// Sends all shapes, until the consumer is gone.
fn send_all<S: ReadShapes>(store: &S, sender: &flume::Sender<Item>) {
    if sender.is_disconnected() {
        return;
    }
    let scan = match store.scan() {
        Ok(scan) => scan,
        // Nothing is left to do if the consumer is gone.
        Err(error) => return drop(sender.send(Item::Shape(Err(error)))),
    };
    for shape in scan {
        if sender.send(Item::Shape(shape)).is_err() {
            return;
        }
    }
    let _ = sender.send(Item::End);
}

impl Stream for ScanStream {
    type Item = Result<ScanItem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.0 {
                State::Queued(push, receiver) => {
                    let pushed = ready!(push.as_mut().poll(context));
                    match (pushed, receiver.take()) {
                        (Ok(()), Some(receiver)) => self.0 = State::Reading(receiver.into_stream()),
                        (Ok(()), None) => return self.end(None),
                        (Err(error), _) => return self.end(Some(Err(error))),
                    }
                }
                State::Reading(items) => {
                    return match ready!(Pin::new(items).poll_next(context)) {
                        Some(Item::Shape(Ok(shape))) => Poll::Ready(Some(Ok(shape))),
                        Some(Item::Shape(Err(error))) => self.end(Some(Err(error))),
                        Some(Item::End) => self.end(None),
                        None => self.end(Some(Err(panicked()))),
                    };
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for ScanStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanStream").field("ended", &matches!(self.0, State::Ended)).finish_non_exhaustive()
    }
}
