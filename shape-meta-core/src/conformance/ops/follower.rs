use std::time::Duration;

use super::super::{CompositionFixture, view::read};
use crate::{
    Handle, Seq, SnapshotState,
    feed::{Feed, FeedError, FeedOptions, ShapeList},
};

/// A subscriber that keeps the list of shapes by its feed alone (C15).
pub(super) struct Follower {
    options: FeedOptions,
    /// `None` until it has subscribed to the present store.
    feed: Option<Feed>,
    list: ShapeList,
    /// The sequence number of the latest change.
    latest: Seq,
}

impl Follower {
    pub(super) fn new(options: FeedOptions) -> Self {
        Self { options, feed: None, list: ShapeList::default(), latest: Seq::ZERO }
    }

    /// Applies what its feed has. Returns whether it has subscribed again, which may have flushed.
    pub(super) fn follow<F: CompositionFixture>(&mut self, fixture: &F, store: &F::Store) -> bool {
        let mut has_subscribed = false;
        loop {
            let Some(feed) = &mut self.feed else {
                match fixture.subscribe(store, &self.options) {
                    None => return false,
                    Some(Err(error)) => panic!("C15: a subscription from now on fails: {error}"),
                    Some(Ok(feed)) => {
                        (self.latest, self.feed) = (feed.position(), Some(feed));
                        // After the subscription: what changes in between would be in both.
                        self.list = read(ShapeList::of(store));
                        has_subscribed = true;
                        continue;
                    }
                }
            };
            match feed.recv_timeout(Duration::ZERO) {
                Ok(Some(change)) => {
                    assert!(change.seq >= self.latest, "C15: {change:?} comes after {}", self.latest);
                    self.latest = change.seq;
                    self.list.apply(&change);
                }
                Ok(None) => return has_subscribed,
                Err(error) => {
                    self.feed = None;
                    self.resume(&error, fixture, store);
                    has_subscribed = true;
                }
            }
        }
    }

    /// Resumes after a lag, if that is possible. Otherwise it lists the shapes anew.
    fn resume<F: CompositionFixture>(&mut self, error: &FeedError, fixture: &F, store: &F::Store) {
        let FeedError::Lagged { resume_after } = *error else { return };
        if self.list.can_resume_after(resume_after) {
            let options = self.options.after(resume_after).catch_up_timeout(Duration::ZERO);
            self.feed = match fixture.subscribe(store, &options) {
                Some(Err(FeedError::ListAnew { why })) => {
                    assert!(!why.contains("before they were on disk"), "C15: a resume lists anew: {why}");
                    None
                }
                outcome => outcome.and_then(Result::ok),
            };
        }
    }

    /// Forgets the store, which is replaced by another one.
    pub(super) fn forget(&mut self) {
        self.feed = None;
    }

    /// Asserts that its list is this one.
    pub(super) fn assert_has(&self, expected: &ShapeList, who: &str) {
        if self.feed.is_none() {
            return;
        }
        let shapes = |list: &ShapeList| -> Vec<(Seq, Handle, SnapshotState)> {
            list.iter().map(|(entry, state)| (entry.created(), entry.handle().clone(), state)).collect()
        };
        assert_eq!(shapes(&self.list), shapes(expected), "C15: {who} replays its feed, and has another list");
    }
}
