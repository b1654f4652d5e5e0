use std::{sync::Arc, time::Instant};

use shape_meta_core::{
    Activity, Delta, Entry, RefreshReport, Result, Seq, ShapeStore, ShapeStoreExt, Timestamp,
};

use crate::{
    Cached,
    draft::{Draft, Writer},
};

impl<S: ShapeStore> Cached<S> {
    /// Brings the mirror up to date with a store that someone else writes, as a standby has, and publishes
    /// what has changed in one step.
    ///
    /// Reads from below what has changed since the last time, if it is known there: that costs some
    /// microseconds for each change, and about a hundred if there is none. Otherwise, and if the numbers do
    /// not come out right, it is a [`reload`](Self::reload).
    ///
    /// Readers never miss a shape that was there before and is there afterwards, and shapes that stay keep
    /// their last-read times. Readers of the moment are waited for, as in every publish.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. The mirror stays as it was.
    pub fn refresh(&self) -> Result<RefreshReport> {
        self.refreshing(|writer| match self.inner.changes_since(writer.totals.last_seq)? {
            Some(mut delta) => {
                self.mirror.leave_what_is_so(&mut delta);
                match self.mirror.counts_after(writer.totals.counts, &delta) == delta.counts {
                    true => Ok(self.follow(writer, &delta)),
                    false => self.reload_with(writer),
                }
            }
            None => self.reload_with(writer),
        })
    }

    /// Reads everything small from the store below again, and publishes what has changed there in one
    /// step.
    ///
    /// For readers it is like [`refresh`](Self::refresh). Costs a read of all shapes, and memory for a second
    /// copy of their entries while it runs.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. The mirror stays as it was.
    pub fn reload(&self) -> Result<RefreshReport> {
        self.refreshing(|writer| self.reload_with(writer))
    }

    /// Takes over the last-read times that are saved below, where they are later; shapes that were never
    /// read count as read when they were found, if `found` says when that was. For the mirror of a standby that
    /// becomes the owner.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. Some times may have been taken over.
    pub fn learn_reads(&self, found: impl Fn(Seq) -> Option<Timestamp>) -> Result<()> {
        self.inner.saved_reads(&mut |created, at| {
            if let Some(entry) = self.mirror.roster.get(created) {
                entry.learn(at);
            }
        })?;
        for chunk in self.mirror.roster.chunks() {
            for entry in chunk.entries().iter().filter(|entry| entry.last_read().is_none()) {
                if let Some(at) = found(entry.created()) {
                    entry.learn(at);
                }
            }
        }
        Ok(())
    }

    fn refreshing(
        &self,
        refresh: impl FnOnce(&mut Writer) -> Result<RefreshReport>,
    ) -> Result<RefreshReport> {
        let span = self.observer.begin(Activity::Refresh);
        let begun = Instant::now();
        let mut writer = self.writer();
        let refreshed = refresh(&mut writer);
        if refreshed.is_ok() {
            writer.unsure = false;
        }
        drop(writer);
        if let Some(span) = span {
            span.end(refreshed.as_ref().err());
        }
        let mut refreshed = refreshed?;
        refreshed.took = begun.elapsed();
        Ok(refreshed)
    }

    fn follow(&self, writer: &mut Writer, delta: &Delta) -> RefreshReport {
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
        let flight = self.in_flight.begin();
        let mut draft = Draft::new(&self.mirror, writer);
        if let Some(reset) = delta.reset {
            refreshed.removed += draft.reset_up_to(reset);
        }
        delta.removed.iter().for_each(|created| draft.remove(*created));
        delta.marked.iter().for_each(|(created, state)| draft.mark(*created, *state));
        delta.added.iter().for_each(|entry| draft.add(entry));
        let litter = draft.publish(delta.through, &*self.observer);
        drop(flight);
        writer.sweep(litter);
        self.mirror.readers.refill();
        refreshed
    }

    /// A shape that an apply of unknown outcome was to add, and that turns out to be there, comes in with the entry
    /// that the layer above has of it: reads of it were noted there, and still are.
    pub(crate) fn reload_with(&self, writer: &mut Writer) -> Result<RefreshReport> {
        let flight = self.in_flight.begin();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let last_seq = self.inner.load(&mut |entry| entries.push(entry))?;

        let mut reloaded = RefreshReport::default();
        (reloaded.full, reloaded.through) = (true, last_seq);
        let staying: foldhash::HashSet<_> = entries.iter().map(|entry| entry.created()).collect();
        let mut leaving = Vec::new();
        for chunk in self.mirror.roster.chunks() {
            let entries = chunk.entries();
            leaving.extend(entries.iter().map(|entry| entry.created()).filter(|one| !staying.contains(one)));
        }
        let adding: foldhash::HashMap<_, _> =
            writer.adding.drain(..).map(|entry| (entry.created(), entry)).collect();
        // At the place of another shape there may be a different one: of a change that did not come
        // through, or of another database.
        let is_same = |one: &Entry, other: &Entry| one.handle() == other.handle() && one.key() == other.key();
        let mut draft = Draft::new(&self.mirror, writer);
        for created in leaving {
            draft.remove(created);
            reloaded.removed += 1;
        }
        for entry in entries {
            match self.mirror.roster.get(entry.created()) {
                Some(own) if is_same(&own, &entry) => {
                    reloaded.marked += usize::from(own.state() < entry.state());
                    own.advance(entry.state());
                    if let Some(at) = entry.last_read() {
                        own.learn(at);
                    }
                }
                other => {
                    if other.is_some() {
                        draft.replace(&entry);
                        reloaded.removed += 1;
                    } else {
                        let above = adding.get(&entry.created()).filter(|above| is_same(above, &entry));
                        match above {
                            Some(above) => {
                                above.advance(entry.state());
                                draft.add(above);
                            }
                            None => draft.add(&entry),
                        }
                    }
                    reloaded.added += 1;
                }
            }
        }
        let litter = draft.publish(last_seq, &*self.observer);
        (writer.unsure, writer.outdated) = (false, false);
        drop(flight);
        writer.sweep(litter);
        self.mirror.readers.refill();
        Ok(reloaded)
    }
}
