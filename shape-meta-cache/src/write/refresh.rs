use std::{sync::Arc, time::Instant};

use shape_meta_core::{
    Activity, Delta, Entry, RefreshReport, Result, Seq, ShapeStore, ShapeStoreExt, Timestamp,
    feed::{Feed, FeedChange, FeedError, FeedOptions, FeedStage, Feeds},
};

use super::{update::MirrorUpdate, writer::Writer};
use crate::{Cached, cached::line_of};

/// Why a feed of a standby cannot be caught up.
const NOT_REACHED: &str = "the change log of the database does not reach back to that sequence number";

impl<S: ShapeStore> Cached<S> {
    /// Updates the mirror of a standby from a store that another process writes. Publishes all changes in one
    /// step.
    ///
    /// Reads the changes since the last refresh from the change log of the store below: some microseconds for
    /// each change, and about a hundred if there is none. If the change log does not reach back far enough,
    /// or the counts do not match afterwards, this is a [`reload`](Self::reload).
    ///
    /// A shape that is live before and after the refresh is visible to readers all the time, and keeps its
    /// last-read time. As every publish, the call waits for readers that are inside the table.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. The mirror is unchanged then.
    pub fn refresh(&self) -> Result<RefreshReport> {
        self.refresh_feeding(&Feeds::default())
    }

    /// The same as [`refresh`](Self::refresh), and gives its changes to the subscribers of a standby, in one
    /// step, once readers see them. After a [`reload`](Self::reload) the subscribers list anew.
    ///
    /// # Errors
    ///
    /// Those of `refresh`.
    pub fn refresh_feeding(&self, feeds: &Feeds) -> Result<RefreshReport> {
        self.run_refresh(|writer| {
            let delta = self.inner.changes_since(writer.totals.last_seq)?;
            self.refresh_by(writer, delta, feeds)
        })
    }

    /// Subscribes to the refreshes of a standby, all of which feed `feeds`. Waits for a refresh in progress.
    ///
    /// After a sequence number, this is a refresh, too: the feed begins with what has changed since, and what
    /// the mirror lacks of that becomes visible.
    ///
    /// # Errors
    ///
    /// [`FeedError::ListAnew`] if neither memory nor the change log reaches back to that number, and the
    /// errors of a refresh.
    pub fn subscribe(&self, feeds: &Arc<Feeds>, options: &FeedOptions) -> Result<Feed, FeedError> {
        let Some(after) = options.begins_after() else {
            let writer = self.writer()?;
            return feeds.subscribe(options, writer.totals.last_seq, writer.totals.last_seq);
        };
        let mut subscribed = None;
        self.run_refresh(|writer| {
            // One read for both: the feed then ends exactly where the mirror does.
            let shown = writer.totals.last_seq;
            let since = self.inner.changes_since(after.min(shown))?;
            let caught_up = since
                .as_ref()
                .map(|delta| FeedChange::of_delta(delta, |created| self.mirror.entry_list.get(created)));
            // Where the log does not reach back to one subscriber, the others go on.
            let delta = match since {
                None if after < shown => self.inner.changes_since(shown)?,
                since => since,
            };
            let refreshed = self.refresh_by(writer, delta, feeds)?;
            let caught_up = caught_up.filter(|_| !refreshed.full);
            let through = refreshed.through;
            subscribed = Some(feeds.subscribe(options, through, through).and_then(|mut feed| {
                match caught_up {
                    _ if feed.is_complete() => {}
                    Some(changes) => feed.catch_up(changes, through),
                    None => return Err(FeedError::ListAnew { why: NOT_REACHED }),
                }
                // A recovery of the next owner appends to the last sequence number.
                feed.skip_through(Seq::ZERO);
                Ok(feed)
            }));
            Ok(refreshed)
        })?;
        subscribed.unwrap_or(Err(FeedError::ListAnew { why: NOT_REACHED }))
    }

    /// Applies the changes since the last refresh, or since an earlier sequence number; `None` if they are
    /// unknown.
    fn refresh_by(&self, writer: &mut Writer, delta: Option<Delta>, feeds: &Feeds) -> Result<RefreshReport> {
        // Another layer above the same store may have read on another line of history since, where the number
        // of this mirror stands for other changes.
        let delta = delta.filter(|_| line_of(&self.inner) == writer.line).and_then(|mut delta| {
            self.mirror.retain_unapplied(&mut delta);
            (self.mirror.counts_after(writer.totals.counts, &delta) == delta.counts).then_some(delta)
        });
        let Some(delta) = delta else {
            let reloaded = self.reload_with(writer);
            feeds.list_anew("the standby has read everything again");
            return reloaded;
        };
        let changes = match feeds.watched().by_none() {
            true => Vec::new(),
            false => FeedChange::of_delta(&delta, |created| self.mirror.entry_list.get(created)),
        };
        let refreshed = self.apply_delta(writer, &delta);
        feeds.publish(&[FeedStage::Visible, FeedStage::Durable], changes);
        Ok(refreshed)
    }

    /// Updates the mirror by reading the small columns of all shapes again. Publishes all changes in one
    /// step.
    ///
    /// Readers see the same as with [`refresh`](Self::refresh). Takes memory for a second copy of all entries
    /// while it runs.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. The mirror is unchanged then.
    pub fn reload(&self) -> Result<RefreshReport> {
        self.run_refresh(|writer| self.reload_with(writer))
    }

    /// Merges the last-read times that are saved below into the mirror. For a standby that is promoted.
    ///
    /// Where both have a time, the later one counts. A shape that was never read gets the time at which it
    /// was first seen, if `first_seen_at` returns one.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. Some times may be merged then.
    pub fn merge_saved_reads(&self, first_seen_at: impl Fn(Seq) -> Option<Timestamp>) -> Result<()> {
        self.inner.saved_reads(&mut |created, at| {
            if let Some(entry) = self.mirror.entry_list.get(created) {
                entry.merge_last_read(at);
            }
        })?;
        for chunk in self.mirror.entry_list.chunks() {
            for entry in chunk.entries().iter().filter(|entry| entry.last_read().is_none()) {
                if let Some(at) = first_seen_at(entry.created()) {
                    entry.merge_last_read(at);
                }
            }
        }
        Ok(())
    }

    fn run_refresh(
        &self,
        refresh: impl FnOnce(&mut Writer) -> Result<RefreshReport>,
    ) -> Result<RefreshReport> {
        let started_at = Instant::now();
        let mut refreshed = Activity::Refresh.observed(&*self.observer, || {
            let mut writer = self.writer()?;
            let refreshed = refresh(&mut writer)?;
            writer.outcome_unknown = false;
            Ok(refreshed)
        })?;
        refreshed.took = started_at.elapsed();
        Ok(refreshed)
    }

    fn apply_delta(&self, writer: &mut Writer, delta: &Delta) -> RefreshReport {
        let before = writer.totals;
        let mut refreshed = RefreshReport::default();
        refreshed.added = delta.added.len();
        refreshed.removed = delta.removed.len();
        refreshed.marked = delta.marked.len();
        refreshed.through = delta.through;
        let is_same = (before.last_seq, before.counts) == (delta.through, delta.counts);
        if is_same && delta.reset.is_none() && refreshed.added + refreshed.removed + refreshed.marked == 0 {
            return refreshed;
        }
        let guard = self.in_flight.start();
        let mut update = MirrorUpdate::new(&self.mirror, writer);
        if let Some(reset) = delta.reset {
            refreshed.removed += update.reset_up_to(reset);
        }
        delta.removed.iter().for_each(|created| update.remove(*created));
        delta.marked.iter().for_each(|(created, state)| update.mark(*created, *state));
        delta.added.iter().for_each(|entry| update.add(entry));
        let cleanup = update.publish(delta.through);
        drop(guard);
        self.finish_publish(writer, cleanup);
        refreshed
    }

    /// Reloads the mirror under the writer's lock.
    ///
    /// A shape that an apply of unknown outcome has added enters the mirror with the entry of the layer
    /// above, in which reads of it are recorded.
    pub(crate) fn reload_with(&self, writer: &mut Writer) -> Result<RefreshReport> {
        let guard = self.in_flight.start();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let line = line_of(&self.inner);
        let last_seq = self.inner.load(&mut |entry| entries.push(entry))?;
        // If the load itself has moved to another line, the next refresh reloads once more.
        writer.line = line;
        // A definition may have been read on another line, for an entry that is the same on both.
        self.mirror.definitions.clear();

        let mut reloaded = RefreshReport::default();
        (reloaded.full, reloaded.through) = (true, last_seq);
        let live: foldhash::HashSet<_> = entries.iter().map(|entry| entry.created()).collect();
        let mut removed = Vec::new();
        for chunk in self.mirror.entry_list.chunks() {
            let entries = chunk.entries();
            removed.extend(
                entries.iter().map(|entry| entry.created()).filter(|created| !live.contains(created)),
            );
        }
        let uncertain: foldhash::HashMap<_, _> =
            writer.uncertain_adds.drain(..).map(|entry| (entry.created(), entry)).collect();
        // The same sequence number can belong to another shape: of a change that was not committed, or of
        // another database.
        let is_same = |a: &Entry, b: &Entry| {
            (a.handle(), a.key(), a.hash()) == (b.handle(), b.key(), b.hash())
                && (a.relations(), a.is_indexed()) == (b.relations(), b.is_indexed())
        };
        let mut update = MirrorUpdate::new(&self.mirror, writer);
        for created in removed {
            update.remove(created);
            reloaded.removed += 1;
        }
        for entry in entries {
            match self.mirror.entry_list.get(entry.created()) {
                // A snapshot state of ours that is not there belongs to another line of history, as after a
                // restore: a state only moves forward on its own line. The entry is replaced by what was
                // restored.
                Some(own) if is_same(&own, &entry) && own.state() <= entry.state() => {
                    reloaded.marked += usize::from(own.state() < entry.state());
                    own.advance(entry.state());
                    if let Some(at) = entry.last_read() {
                        own.merge_last_read(at);
                    }
                }
                other => {
                    if let Some(other) = other {
                        if is_same(&other, &entry)
                            && let Some(at) = other.last_read()
                        {
                            entry.merge_last_read(at);
                        }
                        update.replace(&entry);
                        reloaded.removed += 1;
                    } else {
                        let above = uncertain.get(&entry.created()).filter(|above| is_same(above, &entry));
                        match above {
                            Some(above) => {
                                above.advance(entry.state());
                                update.add(above);
                            }
                            None => update.add(&entry),
                        }
                    }
                    reloaded.added += 1;
                }
            }
        }
        let cleanup = update.publish(last_seq);
        (writer.outcome_unknown, writer.needs_full_reload) = (false, false);
        drop(guard);
        self.finish_publish(writer, cleanup);
        Ok(reloaded)
    }
}
