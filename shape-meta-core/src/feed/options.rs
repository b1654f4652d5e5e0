use std::time::Duration;

use crate::Seq;

/// What a feed begins with, what it gives, and how far its subscriber may fall behind.
///
/// The default is a feed of visible changes from now on.
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until they are passed to `subscribe`"]
pub struct FeedOptions {
    pub(super) stage: FeedStage,
    pub(super) after: Option<Seq>,
    pub(super) capacity: usize,
    pub(super) catch_up_timeout: Duration,
}

/// When a feed gives a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FeedStage {
    /// When reads show it. Under a write buffer, such a change can still be rejected by the store, which the
    /// feed then gives as well, and it can be lost in a crash.
    #[default]
    Visible,
    /// When a crash cannot undo it. Without a write buffer, and on a standby, that is the same moment.
    Durable,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            stage: FeedStage::Visible,
            after: None,
            capacity: 65_536,
            catch_up_timeout: Duration::from_secs(10),
        }
    }
}

impl FeedOptions {
    /// A feed of [visible](FeedStage::Visible) changes from now on: the default.
    pub fn visible() -> Self {
        Self::default()
    }

    /// A feed of [durable](FeedStage::Durable) changes: of all that is accepted from now on, once it is
    /// durable.
    pub fn durable() -> Self {
        Self { stage: FeedStage::Durable, ..Self::default() }
    }

    /// Begins after this sequence number: with what has changed since, and then with what changes from now
    /// on.
    ///
    /// From the first subscription on, the store keeps the latest 65,536 changes in memory. Where these reach
    /// back to the sequence number, the feed goes on exactly there. Otherwise it begins with the net changes
    /// of the change log, all with the sequence number that they reach together: a change that was committed
    /// together with a later one may be in them again, and a shape that came and went in between is not in
    /// them, except for its removal.
    ///
    /// Pass the [position](super::Feed::position) of a former feed, or the [`last_seq`] before a list. The
    /// number of a visible feed is good as long as the store is open; that of a durable feed also for the
    /// same database after it was opened again, but not after a restore.
    ///
    /// [`last_seq`]: crate::ReadShapes::last_seq
    pub fn after(mut self, seq: Seq) -> Self {
        self.after = Some(seq);
        self
    }

    /// How many changes are queued for the subscriber. Default: 65,536.
    ///
    /// A queued change takes 32 bytes, and keeps its shape in memory. A subscriber that falls further behind
    /// is ended as [`Lagged`](super::FeedError::Lagged). A single transaction or refresh may be larger: it is
    /// queued if nothing else is.
    pub fn capacity(mut self, changes: usize) -> Self {
        self.capacity = changes.max(1);
        self
    }

    /// How long [`after`](Self::after) waits for pending changes to be flushed if it needs the change log,
    /// which has what is committed. Default: 10 seconds.
    pub fn catch_up_timeout(mut self, timeout: Duration) -> Self {
        self.catch_up_timeout = timeout;
        self
    }

    /// Returns when the feed gives a change.
    pub fn gives(&self) -> FeedStage {
        self.stage
    }

    /// Returns the sequence number after which the feed begins; `None` for now.
    pub fn begins_after(&self) -> Option<Seq> {
        self.after
    }

    /// Returns how long the catch-up waits for a flush.
    pub fn longest_catch_up(&self) -> Duration {
        self.catch_up_timeout
    }
}
