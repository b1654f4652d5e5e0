use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use flume::{Receiver, RecvTimeoutError, TryRecvError, r#async::RecvStream};
use futures_core::Stream;

use super::{
    FeedChange, FeedError, FeedOptions, Feeds,
    queue::{Message, QueueState},
};
use crate::{Seq, ShapeStore, ShapeStoreExt};

/// The changes of a store, one by one and in order (C15): for a thread, as a future, or as a
/// [`Stream`](futures_core::Stream) of any runtime.
///
/// A feed does not keep its store open. It ends with the error that says why: after
/// [`Lagged`](FeedError::Lagged) the caller resumes, after [`ListAnew`](FeedError::ListAnew) it lists the
/// shapes anew. Dropping it unsubscribes.
pub struct Feed {
    feeds: Weak<Feeds>,
    id: u64,
    receiver: Receiver<Message>,
    /// The same receiver, for polls.
    stream: RecvStream<'static, Message>,
    queue: Arc<QueueState>,
    /// The message that is being given.
    opened: Option<Opened>,
    /// Messages in front of the queue, for a subscriber that has resumed.
    missed: VecDeque<Message>,
    /// Whether nothing is missing between the position and the queue.
    is_complete: bool,
    /// Up to which sequence number everything was given.
    position: Seq,
    /// The queue may have changes up to this sequence number that are not for this feed, or were caught up.
    skipped_through: Seq,
    /// The end was given.
    is_ended: bool,
}

/// A message that is being given, and the index of its next change.
struct Opened {
    message: Message,
    next: usize,
    /// Changes up to this sequence number are left out.
    skipped_through: Seq,
}

impl Feed {
    pub(super) fn new(
        feeds: Weak<Feeds>,
        id: u64,
        receiver: Receiver<Message>,
        queue: Arc<QueueState>,
        position: Seq,
    ) -> Self {
        let stream = receiver.clone().into_stream();
        Self {
            feeds,
            id,
            receiver,
            stream,
            queue,
            opened: None,
            missed: VecDeque::new(),
            is_complete: false,
            position,
            skipped_through: Seq::ZERO,
            is_ended: false,
        }
    }

    /// Puts messages in front of the queue: all that was emitted after `after`.
    pub(super) fn resume(&mut self, after: Seq, missed: VecDeque<Message>) {
        (self.missed, self.is_complete) = (missed, true);
        self.skip_through(after);
    }

    /// Whether a feed that begins after a sequence number has all that was emitted since, so that it needs no
    /// change log. For implementors of a layer on top.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Leaves out changes up to `seq` that are emitted later: those that were accepted before the
    /// subscription, and are durable after it. Not the corrections of them.
    pub fn skip_through(&mut self, seq: Seq) {
        self.skipped_through = seq;
    }

    /// Lowers the position to `durable`, up to which everything is durable. For implementors of a layer on
    /// top, before a feed of durable changes is returned.
    ///
    /// What is pending then is not in the feed, and may never be on disk. A list that has it
    /// [cannot be resumed](super::ShapeList::can_resume_after) until the feed has come to it.
    pub fn begin_at_most_after(&mut self, durable: Seq) {
        self.position = self.position.min(durable);
    }

    /// Puts changes in front that were read from a change log, which had reached `through` by then. What the
    /// queue has of the same changes is left out. For implementors of a layer on top, before a feed that is
    /// not [complete](Self::is_complete) is returned.
    ///
    /// A correction in the queue, of a change that was rejected, is about the list before these changes, so
    /// it stays in front of them.
    pub fn catch_up(&mut self, changes: Vec<FeedChange>, through: Seq) {
        let (mut corrections, mut later) = (Vec::new(), Vec::new());
        while let Ok(message) = self.receiver.try_recv() {
            self.queue.release(message.changes().len());
            for change in message.changes() {
                if change.seq > through {
                    later.push(change.clone());
                } else if change.is_rejection() {
                    corrections.push(change.clone());
                }
            }
        }
        if corrections.is_empty() && changes.is_empty() {
            self.position = self.position.max(through);
        }
        let message = Message::Batch(corrections.into_iter().chain(changes).chain(later).collect());
        self.opened = Some(Opened { message, next: 0, skipped_through: Seq::ZERO });
        self.skipped_through = through;
    }

    /// [Catches up](Self::catch_up) from the change log of a store, if the options begin after a sequence
    /// number before `current`, and the feed is not [complete](Self::is_complete). What was accepted before
    /// the subscription must be committed there.
    ///
    /// # Errors
    ///
    /// [`ListAnew`](FeedError::ListAnew) if the change log does not reach back, or the error of the disk.
    pub fn catch_up_from<S: ShapeStore + ?Sized>(
        &mut self,
        store: &S,
        options: &FeedOptions,
        current: Seq,
    ) -> Result<(), FeedError> {
        let begins = options.begins_after().filter(|after| *after < current && !self.is_complete);
        let Some(after) = begins else { return Ok(()) };
        let Some(delta) = store.changes_since(after)? else {
            let why = "the change log of the database does not reach back to that sequence number";
            return Err(FeedError::ListAnew { why });
        };
        self.catch_up(FeedChange::of_delta(&delta, |_| None), delta.through);
        Ok(())
    }

    /// Waits for the next change. Blocks this thread.
    ///
    /// # Errors
    ///
    /// The reason why the feed has ended; again in each later call.
    pub fn recv(&mut self) -> Result<FeedChange, FeedError> {
        loop {
            if let Some(change) = self.next_opened() {
                return Ok(change);
            }
            match self.receiver.recv() {
                Ok(message) => self.open(message),
                Err(flume::RecvError::Disconnected) => return Err(self.end()),
            }
        }
    }

    /// Waits for the next change, for up to `timeout`. Blocks this thread. Returns `None` at the time-out;
    /// with a time-out of zero it never waits.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<FeedChange>, FeedError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(change) = self.next_opened() {
                return Ok(Some(change));
            }
            let received = match (self.receiver.try_recv(), deadline) {
                (Err(TryRecvError::Empty), _) if timeout.is_zero() => Err(RecvTimeoutError::Timeout),
                (Err(TryRecvError::Empty), Some(deadline)) => self.receiver.recv_deadline(deadline),
                (Err(TryRecvError::Empty), None) => {
                    self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
                (Err(TryRecvError::Disconnected), _) => Err(RecvTimeoutError::Disconnected),
                (Ok(message), _) => Ok(message),
            };
            match received {
                Ok(message) => self.open(message),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(self.end()),
            }
        }
    }

    /// Waits for the next change, as a future of any runtime. Dropping the future loses no change.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&mut self) -> Result<FeedChange, FeedError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Returns the sequence number up to which everything was given: what to resume
    /// [after](super::FeedOptions::after).
    ///
    /// Changes that were committed, or caught up, together count when all of them are given. A feed of
    /// durable changes begins at what is durable, although it does not give what is pending then.
    pub fn position(&self) -> Seq {
        self.position
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<FeedChange, FeedError>> {
        loop {
            if let Some(change) = self.next_opened() {
                return Poll::Ready(Ok(change));
            }
            match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(message) => self.open(message),
                None => return Poll::Ready(Err(self.end())),
            }
        }
    }

    fn open(&mut self, message: Message) {
        self.queue.release(message.changes().len());
        self.give(message);
    }

    fn give(&mut self, message: Message) {
        self.opened = Some(Opened { message, next: 0, skipped_through: self.skipped_through });
    }

    /// Takes the next change of the opened message, without those that were caught up.
    fn next_opened(&mut self) -> Option<FeedChange> {
        loop {
            if self.opened.is_none() {
                let missed = self.missed.pop_front()?;
                self.give(missed);
            }
            let opened = self.opened.as_mut()?;
            let Some(mut change) = opened.message.changes().get(opened.next).cloned() else {
                self.opened = None;
                continue;
            };
            opened.next += 1;
            if opened.message.can_resume_before(opened.next) {
                self.position = self.position.max(change.seq);
            }
            if change.is_rejection() {
                // It may concern what was accepted before the subscription.
                change.seq = change.seq.max(self.position);
                return Some(change);
            }
            if change.seq > opened.skipped_through {
                return Some(change);
            }
        }
    }

    fn end(&mut self) -> FeedError {
        self.is_ended = true;
        self.queue.why_ended().error(self.position)
    }
}

/// The changes, and at last the reason why the feed has ended.
impl Stream for Feed {
    type Item = Result<FeedChange, FeedError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.is_ended {
            true => Poll::Ready(None),
            false => self.poll_recv(context).map(Some),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(feeds) = self.feeds.upgrade() {
            feeds.unsubscribe(self.id);
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("position", &self.position)
            .field("is_ended", &self.is_ended)
            .finish_non_exhaustive()
    }
}
