//! The feeds of a standby: the changes of its refreshes.

use std::sync::Arc;

use shape_meta_core::{
    ChangeLog, Delta, RefreshReport, Result, Seq, ShapeStore, ShapeStoreExt,
    feed::{Feed, FeedChange, FeedError, FeedOptions, FeedStage, Feeds},
};

use crate::layers::{LowerLayers, cache};

/// The subscribers of a standby. Locked across a refresh and a subscription; no reader takes it.
pub(crate) struct StandbyFeeds {
    feeds: Arc<Feeds>,
    /// Without a cache: what the subscribers were given last. Replaced as a whole.
    given: Delta,
}

impl StandbyFeeds {
    pub(crate) fn new(feeds: Arc<Feeds>) -> Self {
        Self { feeds, given: Delta::default() }
    }

    /// Brings memory up to date with what the owner has committed, and gives the changes to the subscribers.
    pub(crate) fn refresh<S: ShapeStore>(&mut self, lower: &LowerLayers<S>) -> Result<RefreshReport> {
        match lower {
            LowerLayers::Cached(cached) => cache::refresh(cached, &self.feeds),
            LowerLayers::Bare(_) if self.feeds.watched().by_none() => Ok(RefreshReport::default()),
            LowerLayers::Bare(store) => self.follow(store),
        }
    }

    /// Subscribes to the refreshes. After a sequence number, this is a refresh, too.
    pub(crate) fn subscribe<S: ShapeStore>(
        &mut self,
        lower: &LowerLayers<S>,
        options: &FeedOptions,
    ) -> Result<Feed, FeedError> {
        let store = match lower {
            LowerLayers::Cached(cached) => return cache::subscribe(cached, &self.feeds, options),
            LowerLayers::Bare(store) => store,
        };
        if self.feeds.watched().by_none() {
            self.given = present(store)?;
        } else {
            self.follow(store)?;
        }
        let through = self.given.through;
        let mut feed = self.feeds.subscribe(options, through, through)?;
        // What the owner commits in between is given again by the next refresh.
        feed.catch_up_from(store, options, through.next())?;
        // A recovery of the next owner appends to the last sequence number.
        feed.skip_through(Seq::ZERO);
        Ok(feed)
    }

    /// Gives the subscribers what has changed since they were last given something.
    fn follow<S: ShapeStore>(&mut self, store: &S) -> Result<RefreshReport> {
        let mut refreshed = RefreshReport::default();
        if let Some(found) = store.changes_since(self.given.through)? {
            let new = without(&found, &self.given);
            (refreshed.added, refreshed.removed) = (new.added.len(), new.removed.len());
            refreshed.marked = new.marked.len();
            self.feeds
                .publish(&[FeedStage::Visible, FeedStage::Durable], FeedChange::of_delta(&new, |_| None));
            self.given = found;
        } else {
            self.feeds.list_anew("the change log does not reach back to the last refresh of the standby");
            self.given = present(store)?;
            refreshed.full = true;
        }
        refreshed.through = self.given.through;
        Ok(refreshed)
    }
}

/// Returns the changes of a delta that another one, which ends where it begins, does not have: both have
/// those of that sequence number.
fn without(found: &Delta, given: &Delta) -> Delta {
    let mut new = found.clone();
    new.reset = new.reset.filter(|reset| Some(*reset) != given.reset);
    new.removed.retain(|id| !given.removed.contains(id));
    new.marked.retain(|mark| !given.marked.contains(mark));
    new
}

/// Returns the last changes of a store, as of now.
fn present<S: ShapeStore>(store: &S) -> Result<Delta> {
    let last = match store.change_log().map_or(0, ChangeLog::line) {
        0 => store.last_seq()?,
        // On a line of history after the first one, the change log goes on only from what was read.
        _ => store.load(&mut |_| ())?,
    };
    Ok(store.changes_since(last)?.unwrap_or_else(|| Delta { through: last, ..Delta::default() }))
}
