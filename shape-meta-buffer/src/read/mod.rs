//! Reads: the overlay first, then what is below (I3). See `Overlay` for why that is never wrong.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use shape_meta_core::{
    Counts, Entry, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record, Relation, Result,
    Scan, ScanItem, Seq, ShapeStore, SnapshotState, Timestamp,
};

use crate::{
    Buffered,
    memtable::State,
    memtable::{Generation, Seen},
    memtable::{Now, Slot},
};

/// What the overlay has to say of a handle, copied out from under its lock.
enum TrustedState<T> {
    /// All there is to know.
    All(Option<T>),
    /// The shape is below, with its snapshot advanced to this.
    Marked(Seq, SnapshotState),
    /// Nothing.
    Nothing,
}

impl<S: ShapeStore + 'static> Buffered<S> {
    fn known<T>(&self, handle: &str, here: impl FnOnce(&Arc<Record>, SnapshotState) -> T) -> TrustedState<T> {
        if self.shared.overlay.is_quiet() {
            return TrustedState::Nothing;
        }
        let handle = handle.as_bytes();
        let hash = self.shared.hashing.handle(handle);
        if !self.shared.overlay.may_know(hash) {
            return TrustedState::Nothing;
        }
        match self.shared.overlay.read().handle(hash, handle) {
            Some(Seen::Here(record, state)) => TrustedState::All(Some(here(record, state))),
            Some(Seen::Gone) => TrustedState::All(None),
            Some(Seen::Marked(entry, state)) => TrustedState::Marked(entry.created(), state),
            None => TrustedState::Nothing,
        }
    }

    /// Takes a view of the overlay and reads below, again and again until no flush began in between, so
    /// that both are of one moment.
    fn at_one_moment<V, T>(
        &self,
        view: impl Fn(&State) -> V,
        below: impl Fn(&V) -> Result<T>,
    ) -> Result<(V, T)> {
        loop {
            let (seen, version) = {
                let state = self.shared.overlay.read();
                (view(&state), self.shared.overlay.version())
            };
            let found = below(&seen)?;
            if self.shared.overlay.version() == version {
                return Ok((seen, found));
            }
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> ReadShapes for Buffered<S> {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        match self.known(handle, |record, state| record.entry.metadata_in(state)) {
            TrustedState::All(metadata) => Ok(metadata),
            TrustedState::Nothing => self.shared.inner.metadata(handle),
            // The one below tells when the shape was last read.
            TrustedState::Marked(created, state) => Ok(self.shared.inner.metadata(handle)?.map(|below| {
                let state = if below.created == created { below.state.max(state) } else { below.state };
                Metadata { state, ..below }
            })),
        }
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        if self.shared.overlay.is_quiet() {
            return self.shared.inner.handle_for(key);
        }
        Ok(self.shared.holder_of(key)?.map(|(handle, _)| handle))
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        match self.known(handle, |record, _| Arc::clone(&record.entry)) {
            TrustedState::All(entry) => Ok(entry),
            TrustedState::Marked(..) | TrustedState::Nothing => self.shared.inner.entry(handle),
        }
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        match self.known(handle, |record, _| Arc::clone(record)) {
            TrustedState::All(record) => Ok(record),
            TrustedState::Marked(..) | TrustedState::Nothing => self.shared.inner.record(handle),
        }
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let hashes = relations.iter().map(|relation| self.shared.hashing.relation(*relation));
        if !{ hashes }.any(|hash| self.shared.overlay.may_know(hash)) {
            return self.shared.inner.handles_for_relations(relations);
        }
        let mut asked = relations.to_vec();
        asked.sort_unstable();
        asked.dedup();
        let view = |state: &State| Readers {
            reset: state.is_reset(),
            added: added(&state.active, &asked),
            removed: removed(&state.active, &asked),
            older: state.older_that_count().map(Arc::clone).collect(),
        };
        let below = |view: &Readers| {
            if view.reset { Ok(Vec::new()) } else { self.shared.inner.handles_for_relations(relations) }
        };
        let (mut view, mut handles) = self.at_one_moment(view, below)?;
        for older in view.older.iter().rev().filter(|older| older.changes_readers(&asked)) {
            // What the flush under way adds or removes may be below already, or not.
            handles.retain(|handle| {
                let hash = self.shared.hashing.handle(handle.as_bytes());
                !matches!(older.handle(hash, handle.as_bytes()), Some(Seen::Here(..) | Seen::Gone))
            });
            handles.append(&mut added(older, &asked));
        }
        if !view.removed.is_empty() {
            let removed: HashSet<&Handle> = view.removed.iter().collect();
            handles.retain(|handle| !removed.contains(handle));
        }
        handles.append(&mut view.added);
        Ok(handles)
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.shared.overlay.read().counts.counts())
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let (view, below) = self.at_one_moment(Merged::of, |view| {
            if view.reset { Ok(None) } else { self.shared.inner.scan().map(Some) }
        })?;
        let Merged { over, mut added, .. } = view;
        added.sort_by_key(|listed| listed.metadata.created);
        let below = below.into_iter().flatten().filter_map(move |listed| match listed {
            Err(error) => Some(Err(error)),
            Ok(mut listed) => match over.get(&listed.metadata.created) {
                None => Some(Ok(listed)),
                Some(Over::Hidden) => None,
                Some(Over::Marked(state)) => {
                    listed.metadata.state = listed.metadata.state.max(*state);
                    Some(Ok(listed))
                }
            },
        });
        // What is pending was accepted after all that is below, so the order of creation holds.
        Ok(Box::new(below.chain(added.into_iter().map(Ok))))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        match self.known(handle, |record, _| record.entry.touch(at)) {
            TrustedState::All(Some(())) => {
                self.shared.overlay.touched(at);
                Ok(true)
            }
            TrustedState::All(None) => Ok(false),
            TrustedState::Marked(..) | TrustedState::Nothing => self.shared.inner.touch(handle, at),
        }
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        if self.shared.overlay.is_quiet() {
            return self.shared.inner.least_recently_used(n, excluded);
        }
        // Mostly nothing pending is stale enough to matter, and then nobody has to look through it.
        let (_, below) = self.stalest(n, excluded, false)?;
        let is_early = |at| self.shared.overlay.may_be_touched_by(at);
        if below.shapes.len() >= n && below.most_recent().is_some_and(|at| !is_early(at)) {
            return Ok(below);
        }
        let (pending, mut below) = self.stalest(n, excluded, true)?;
        let handles: HashSet<&Handle> = pending.iter().map(|(handle, _)| handle).collect();
        below.shapes.retain(|(handle, _)| !handles.contains(handle));
        drop(handles);
        below.shapes.extend(pending);
        // Stable: among equals the older shape comes first, and those below are older.
        below.shapes.sort_by_key(|(_, at)| *at);
        below.shapes.truncate(n);
        Ok(below)
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(self.shared.overlay.last())
    }
}

impl<S: ShapeStore + 'static> Buffered<S> {
    /// The stalest shapes below that are not removed above, and if asked for, the pending new shapes that
    /// were touched, in the order of creation.
    fn stalest(
        &self,
        n: usize,
        excluded: &HandleSet,
        with_pending: bool,
    ) -> Result<(Vec<(Handle, Timestamp)>, LeastRecentlyUsed)> {
        let view = |state: &State| {
            let slots = || state.generations().flat_map(Generation::slots);
            let mut hidden = excluded.clone();
            hidden.extend(slots().filter_map(Slot::removed).map(|entry| entry.handle().clone()));
            let touched = if with_pending { self.touched(state, excluded) } else { Vec::new() };
            (hidden, state.is_reset(), touched)
        };
        let below = |(hidden, reset, _): &(HandleSet, bool, _)| match reset {
            true => Ok(LeastRecentlyUsed::default()),
            false => self.shared.inner.least_recently_used(n, hidden),
        };
        let ((_, _, touched), below) = self.at_one_moment(view, below)?;
        Ok((touched, below))
    }

    fn touched(&self, state: &State, excluded: &HandleSet) -> Vec<(Handle, Timestamp)> {
        let added = state.generations().flat_map(Generation::slots).filter_map(Slot::added);
        let mut touched: Vec<_> = added
            .filter(|record| !excluded.contains(record.handle()))
            .filter_map(|record| Some((record, record.entry.last_read()?)))
            // The active generation may have removed what the sealed one adds.
            .filter(|(record, _)| {
                let handle = record.handle().as_bytes();
                let seen = state.handle(self.shared.hashing.handle(handle), handle);
                matches!(seen, Some(Seen::Here(known, _)) if Arc::ptr_eq(known, record))
            })
            .collect();
        touched.sort_by_key(|(record, _)| record.entry.created());
        touched.into_iter().map(|(record, at)| (record.handle().clone(), at)).collect()
    }
}

/// What the overlay changes about the readers of some relations: the active generation as far as it
/// concerns them, and the older ones whole, the newest first, which do not change any more.
struct Readers {
    reset: bool,
    added: Vec<Handle>,
    removed: Vec<Handle>,
    older: Vec<Arc<Generation>>,
}

/// The shapes that a generation adds to the readers of these relations, each once. `asked` is sorted.
fn added(generation: &Generation, asked: &[Relation]) -> Vec<Handle> {
    let mut added = Vec::new();
    for relation in asked {
        let Some(readers) = generation.readers(*relation) else { continue };
        // A shape that reads several of the relations comes with the first of them.
        let first =
            |entry: &&Arc<Entry>| asked.iter().find(|one| entry.relations().contains(one)) == Some(relation);
        added.extend(generation.added(readers).filter(first).map(|entry| entry.handle().clone()));
    }
    added
}

/// The shapes below that a generation takes away from the readers of these relations.
fn removed(generation: &Generation, asked: &[Relation]) -> Vec<Handle> {
    let readers = asked.iter().filter_map(|relation| generation.readers(*relation));
    readers.flat_map(|readers| &readers.removed).cloned().collect()
}

/// What the overlay changes about the list of all shapes.
#[derive(Default)]
struct Merged {
    reset: bool,
    over: HashMap<Seq, Over>,
    added: Vec<ScanItem>,
}

enum Over {
    Hidden,
    Marked(SnapshotState),
}

impl Merged {
    /// O(pending), under the overlay's lock: a scan is not for the hot path.
    fn of(state: &State) -> Self {
        let mut merged = Self { reset: state.is_reset(), ..Self::default() };
        for generation in state.generations() {
            for slot in generation.slots() {
                if let Some(base) = slot.removed() {
                    merged.over.insert(base.created(), Over::Hidden);
                }
                match (&slot.now, &slot.base) {
                    (Now::Here(record, state), _) => merged.add(record, *state),
                    (Now::Marked(state), Some(base)) => {
                        // The newer generation came first, and marks only move forward.
                        merged.over.entry(base.created()).or_insert(Over::Marked(*state));
                    }
                    (Now::Marked(_), None) | (Now::Gone, _) => {}
                }
            }
        }
        merged
    }

    fn add(&mut self, record: &Arc<Record>, state: SnapshotState) {
        let created = record.entry.created();
        // The generation above may have removed it or marked it; below it may be there already, or not.
        let state = match self.over.insert(created, Over::Hidden) {
            Some(Over::Hidden) => return,
            Some(Over::Marked(newer)) => newer.max(state),
            None => state,
        };
        let metadata = record.entry.metadata_in(state);
        self.added.push(ScanItem { record: Arc::clone(record), metadata });
    }
}
