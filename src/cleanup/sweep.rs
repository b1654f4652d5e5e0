use std::collections::{HashMap, HashSet};

use shape_meta_core::{Error, ErrorKind, Handle, HandleState, Result, Seq};

use super::{
    OrphanSweep,
    part::{Left, Part},
    worker::Cleanup,
};
use crate::{BoxError, database::Database, store::Core};

/// How many stored handles are compared at once.
const HANDLES_PER_PAGE: usize = 1_000;
/// How many handles without a shape are compared with the tasks at once: the memory of a sweep. Each time
/// is a pass over the tasks.
const CANDIDATES_AT_ONCE: usize = 50_000;
/// How many orphans are reported by name.
const SAMPLE: usize = 10;

/// What a comparison of the stored data with the shapes has found.
#[derive(Default)]
struct Found {
    stored: u64,
    orphans: u64,
    sample: Vec<Handle>,
    has_undecided: bool,
    /// Whether data of a shape is stored that the database had before it was opened.
    has_earlier: bool,
}

impl Cleanup {
    /// Compares what is stored with the shapes, and makes cleanup tasks of orphans, if the database is
    /// trusted to know its stored data. `None` if the cleaner does not say what is stored, and if the store
    /// was closed meanwhile.
    ///
    /// A shape is added before its data is created. So each stored handle that belongs to a shape is live
    /// when it is looked up, or its removal was accepted.
    ///
    /// While a change to a handle is pending, its state in memory does not show whether the database has ever
    /// had it: a reset that is pending concerns every handle. A trusted database makes a task of it, whose
    /// handle is looked up again before anything is deleted. Another one looks it up on disk. If it is not
    /// there, the sweep is repeated after the flush.
    ///
    /// Nothing is written before everything was compared once: if there are shapes, but the data of none of
    /// them is stored, then the storage is not the one of this database, and the trust ends or does not
    /// begin.
    pub(super) fn sweep(&self, store: &Core, database: &dyn Database, is_confirmed: bool) -> Result<Part> {
        let Some(found) = self.compare(store, database, &|_| Ok(()))? else { return Ok(Part::Swept(None)) };
        let mut is_trusted = database.is_storage_trusted()?;
        if is_confirmed && !is_trusted {
            // The sweep before may have ended the trust after it was confirmed.
            database.trust_storage()?;
            is_trusted = true;
        }
        if !is_trusted && found.has_undecided && found.orphans == 0 {
            return Ok(Part::Left(Left::Pending));
        }
        let has_candidates = found.has_undecided || found.orphans > 0;
        // Without candidates and with trust there is nothing to decide.
        let is_strange =
            (has_candidates || !is_trusted) && !found.has_earlier && has_earlier_shape(store, database)?;
        let waits_for_confirmation = has_candidates && (!is_trusted || is_strange) && !is_confirmed;
        match (has_candidates, is_trusted) {
            (false, false) if !is_strange => database.trust_storage()?,
            (false, _) => {}
            (true, true) if waits_for_confirmation => database.distrust_storage()?,
            (true, _) if waits_for_confirmation => {}
            (true, _) => drop(self.compare(store, database, &|handles| database.add_orphans(handles))?),
        }
        if found.orphans > 0 {
            self.observer.orphans_found(found.orphans, &found.sample, waits_for_confirmation);
        }
        let Found { stored, orphans, sample, .. } = found;
        Ok(Part::Swept(Some(OrphanSweep { stored, orphans, sample, waits_for_confirmation })))
    }

    /// Compares the stored handles with the shapes, and passes pages of those without a shape to `each`.
    fn compare(
        &self,
        store: &Core,
        database: &dyn Database,
        each: &dyn Fn(&[Handle]) -> Result<()>,
    ) -> Result<Option<Found>> {
        let Some(stored) = self.cleaner.stored_handles().map_err(failed)? else { return Ok(None) };
        // The iterator is the application's, and may go on after its end.
        let mut stored = stored.fuse();
        let is_trusted = database.is_storage_trusted()?;
        let (mut found, mut candidates) = (Found::default(), Candidates::default());
        loop {
            if self.is_closed() {
                return Ok(None);
            }
            let page: Vec<Handle> =
                stored.by_ref().take(HANDLES_PER_PAGE).collect::<Result<_, _>>().map_err(failed)?;
            let is_at_end = page.is_empty();
            found.stored += page.len() as u64;
            candidates.add(store, page, database.last_seq_at_open())?;
            if !is_at_end && candidates.len() < CANDIDATES_AT_ONCE {
                continue;
            }
            let Candidates { orphans, undecided, has_earlier } =
                std::mem::take(&mut candidates).without_known(database, is_trusted)?;
            for handles in orphans.chunks(HANDLES_PER_PAGE).chain(undecided.chunks(HANDLES_PER_PAGE)) {
                each(handles)?;
            }
            found.has_earlier |= has_earlier;
            found.has_undecided |= !undecided.is_empty();
            found.orphans += orphans.len() as u64;
            let missing = SAMPLE - found.sample.len();
            found.sample.extend(orphans.into_iter().take(missing));
            if is_at_end {
                return Ok(Some(found));
            }
        }
    }
}

/// Stored handles that no shape has.
#[derive(Default)]
struct Candidates {
    /// Those without a shape in memory and on disk.
    orphans: Vec<Handle>,
    /// Those with a pending change.
    undecided: Vec<Handle>,
    /// Whether another one belongs to a shape of before the open.
    has_earlier: bool,
}

impl Candidates {
    fn len(&self) -> usize {
        self.orphans.len() + self.undecided.len()
    }

    /// Adds those of these handles that no shape has.
    fn add(&mut self, store: &Core, handles: Vec<Handle>, last_seq_at_open: Seq) -> Result<()> {
        let mut without_shape = Vec::new();
        for handle in handles {
            // Most are live, and this look-up takes no lock.
            match store.stack().metadata(&handle)? {
                Some(live) => self.has_earlier |= live.created <= last_seq_at_open,
                None => without_shape.push(handle),
            }
        }
        if without_shape.is_empty() {
            return Ok(());
        }
        for (handle, state) in store.stack().reserve_handles(&without_shape)?.states() {
            match state {
                HandleState::Free => self.orphans.push(handle.clone()),
                HandleState::Pending => self.undecided.push(handle.clone()),
                HandleState::Live { .. } => {}
            }
        }
        Ok(())
    }

    /// Removes the handles that the database knows: those with a task, and those with a pending change that
    /// are on disk. A trusted database does not need the latter.
    ///
    /// Shapes are looked up before tasks: a removal that is committed in between has left its task.
    fn without_known(mut self, database: &dyn Database, is_trusted: bool) -> Result<Self> {
        if !is_trusted && !self.undecided.is_empty() {
            let known = on_disk(database, &self.undecided)?;
            let last_seq_at_open = database.last_seq_at_open();
            self.has_earlier |= known.values().any(|created| *created <= last_seq_at_open);
            self.undecided.retain(|handle| !known.contains_key(handle));
        }
        for handles in [&mut self.orphans, &mut self.undecided] {
            *handles = database.without_task(std::mem::take(handles))?;
        }
        Ok(self)
    }
}

/// Returns those of these handles that a shape on disk has, with the sequence number of its add. Without
/// disk indexes it passes over all shapes.
fn on_disk(database: &dyn Database, handles: &[Handle]) -> Result<HashMap<Handle, Seq>> {
    let mut found = HashMap::new();
    if database.answers_lookups() {
        for handle in handles {
            if let Some(shape) = database.metadata(handle)? {
                found.insert(handle.clone(), shape.created);
            }
        }
        return Ok(found);
    }
    let asked: HashSet<&Handle> = handles.iter().collect();
    for item in database.scan()? {
        match item {
            Ok(item) if asked.contains(item.record.handle()) => {
                found.insert(item.record.handle().clone(), item.record.entry.created());
            }
            Ok(_) => {}
            // A damaged shape does not keep the others.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Returns whether a shape is live that the database had before it was opened. A damaged one counts as such.
fn has_earlier_shape(store: &Core, database: &dyn Database) -> Result<bool> {
    match store.stack().scan()?.next() {
        Some(Ok(oldest)) => Ok(oldest.record.entry.created() <= database.last_seq_at_open()),
        Some(Err(error)) if error.kind() == ErrorKind::Corrupt => Ok(true),
        Some(Err(error)) => Err(error),
        None => Ok(false),
    }
}

fn failed(source: BoxError) -> Error {
    let message = format!(
        "the cleaner could not say what is stored ({source}); nothing was deleted, and the search for orphans is \
         repeated"
    );
    Error::new(ErrorKind::Cleaner, message).with_source(source)
}
