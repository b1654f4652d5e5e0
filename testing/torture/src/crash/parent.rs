//! The parent process, which kills the children.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use shape_meta::{
    ErrorKind, Handle, IntegrityCheck, Mode, NoopObserver, OnCorruption, ReadShapes, Seq, ShapeMeta,
    SqliteOptions, SqliteStore, StoreControl,
};
use shape_meta_core::{MemoryStore, conformance::View};
use shape_meta_harness::{compositions::TIMEOUT, rows::DATABASE_FILE, script::Script};
use shape_meta_sqlite::Inspector;
use tempfile::TempDir;

use super::{
    Outcome, Report,
    check::{self, timeless},
    child_log::{ChildLog, Place, kill_at},
    plan::{Event, Moment, Task},
    stored_data::StoredData,
};

/// A database of the first schema version, as it was released.
const FIRST: &[u8] = include_bytes!("../../../../shape-meta-sqlite/tests/fixtures/v1.sqlite3");
/// The first number of the handles that no child uses.
const PLANTED: u64 = 900;

/// What is known about a database, apart from its files.
struct Line {
    /// The content of the database after the latest child.
    held: MemoryStore,
    /// The sequence numbers of the adds whose data was created.
    stored: BTreeSet<u64>,
    /// Whether the database may delete orphans: the application has said so, or it has found none.
    is_trusted: bool,
}

impl Line {
    fn new() -> Self {
        Self { held: MemoryStore::new(), stored: BTreeSet::new(), is_trusted: false }
    }

    fn copy(&self) -> Outcome<Self> {
        let held = check::copy(&self.held)?;
        Ok(Self { held, stored: self.stored.clone(), is_trusted: self.is_trusted })
    }
}

/// One database on which several children work in succession, and its stored data.
pub struct Chain {
    root: TempDir,
    /// The number of the directory of the database, which changes when it is moved.
    number: u64,
    data: StoredData,
    /// Whether the children store data. Those that do not are faster, and have more to lose.
    stores_data: bool,
    line: Line,
    /// The latest copy, and whether it is a backup.
    copied: Option<Line>,
    is_backup: bool,
    /// The database on the volume that is not mounted.
    unmounted: Option<Line>,
    /// The stored data that the database must not delete without the application's word.
    guarded: BTreeSet<Handle>,
    /// What happened so far, to be printed with a violation.
    past: Vec<String>,
    planted: u64,
    origin: &'static str,
    counted: bool,
}

impl Chain {
    /// Creates a chain on no files, or on a database of the first schema version.
    ///
    /// # Errors
    ///
    /// If the directory or file cannot be created.
    pub fn begin(random: &mut Rng) -> Outcome<Self> {
        let root = tempfile::tempdir()?;
        let data = StoredData(root.path().join("data"));
        fs::create_dir(&data.0)?;
        let mut chain = Self {
            root,
            number: 0,
            data,
            stores_data: random.u8(..4) > 0,
            line: Line::new(),
            copied: None,
            is_backup: false,
            unmounted: None,
            guarded: BTreeSet::new(),
            past: Vec::new(),
            planted: 0,
            origin: "no files",
            counted: false,
        };
        fs::create_dir(chain.database())?;
        if random.u8(..3) == 0 {
            fs::write(chain.database().join(DATABASE_FILE), FIRST)?;
            chain.origin = "version 1";
            chain.line.held = chain.read_copy()?.0;
        }
        if random.bool() {
            chain.guard()?;
        }
        Ok(chain)
    }

    /// Plays one round: a child works and is killed, and the database is checked. Returns whether it passed.
    ///
    /// # Errors
    ///
    /// If the child cannot be started.
    pub fn round(&mut self, binary: &Path, random: &mut Rng, report: &mut Report) -> Outcome {
        let (task, moment) = (Task::draw(random), Moment::draw(random));
        let data = self.stores_data.then_some(&*self.data.0);
        let log = kill_at(moment, task, binary, Place::Directory(&self.database()), data)?;
        report.rounds += 1;
        if !std::mem::replace(&mut self.counted, true) {
            *report.chains.entry(self.origin).or_default() += 1;
        }
        if log.killed.is_some() {
            report.kills += 1;
            *report.hits.entry(log.last.clone()).or_default() += 1;
        }
        report.acknowledged += log.did.iter().flatten().filter(|(seq, _)| seq.is_some()).count() as u64;
        report.created += log.stored.len() as u64;
        let checked = self.check(&log, task, report);
        self.past.push(format!("{task:?}, {moment:?}, killed during {:?}", log.last));
        Ok(self.is_sound(checked, report))
    }

    fn check(&mut self, log: &ChildLog, task: Task, report: &mut Report) -> Result<(), String> {
        // The check opens the database and so changes it. It runs on a copy.
        let (held, left) =
            self.read_copy().map_err(|error| format!("C6: the database cannot be read: {error}"))?;
        check::is_prefix(&self.line.held, &left, log, task)?;
        if task.buffer > 0 && log.opened && log.killed.is_some() {
            let (lost, age) = check::lost(&left, log);
            report.lost.push(lost);
            if lost > 0 {
                report.ages.push(age);
            }
        }
        // The numbers of lost adds are assigned again.
        let last = left.last_seq.get();
        self.line.stored.extend(&log.stored);
        self.line.stored.retain(|seq| *seq <= last);
        self.line.held = held;
        for handle in added(task, log) {
            self.guarded.remove(&handle);
        }
        self.check_data(&left, report)
    }

    /// Checks C12: the data of each live shape is there if it was created, and so is what must not be deleted
    /// without the application's word.
    fn check_data(&self, left: &View, report: &mut Report) -> Result<(), String> {
        let adds = self.data.adds().map_err(|error| format!("the stored data cannot be read: {error}"))?;
        for shape in &left.shapes {
            let created = shape.created.get();
            if self.line.stored.contains(&created) {
                report.live += 1;
                if !adds.get(&shape.handle).is_some_and(|adds| adds.contains(&created)) {
                    return Err(format!("C12: the data of a live shape was deleted: {shape:?}"));
                }
            }
        }
        report.guarded += self.guarded.len() as u64;
        match self.guarded.iter().find(|handle| !adds.contains_key(*handle)) {
            None => Ok(()),
            Some(handle) => Err(format!(
                "C12: the data of {handle} was deleted without the application's word, by a database that does not \
                 know it"
            )),
        }
    }

    /// Lets something happen to the files, or nothing. The last thing of a chain is that everything settles.
    /// Returns whether the checks have passed.
    ///
    /// # Errors
    ///
    /// If the files cannot be copied or moved.
    pub fn between(&mut self, random: &mut Rng, is_last: bool, report: &mut Report) -> Outcome {
        let event = if is_last { Some(Event::Confirm) } else { Event::draw(random) };
        let event = event.filter(|event| self.stores_data || !event.concerns_data());
        let Some(event) = event else { return Ok(true) };
        let task = Task::draw(random);
        let played = catch_unwind(AssertUnwindSafe(|| self.play(event, task, report)));
        let played = played.map_err(|_| "a check has panicked (see above)".into()).flatten();
        if let Ok(true) = &played {
            *report.events.entry(event.name()).or_default() += 1;
        }
        self.past.push(format!("{event:?}"));
        Ok(self.is_sound(played.map(drop).map_err(|error| error.to_string()), report))
    }

    /// Records a violation with everything that has led to it. Returns whether there is none.
    fn is_sound(&self, checked: Result<(), String>, report: &mut Report) -> bool {
        let Err(wrong) = checked else { return true };
        let wrong = format!("{wrong}\n  round {}, after\n  {}", report.rounds, self.past.join("\n  "));
        println!("{wrong}");
        report.violations.push(wrong);
        false
    }

    /// Returns whether the event was possible.
    fn play(&mut self, event: Event, task: Task, report: &mut Report) -> Outcome {
        let (database, copy) = (self.database(), self.root.path().join("copy"));
        match event {
            Event::Copy | Event::Backup => {
                if copy.exists() {
                    fs::remove_dir_all(&copy)?;
                }
                self.is_backup = event == Event::Backup;
                if !self.is_backup {
                    copy_files(&database, &copy)?;
                } else {
                    let inspector = match Inspector::open(&database) {
                        Ok(inspector) => inspector,
                        // No child has created the database yet, or not completely.
                        Err(error)
                            if self.is_new()?
                                && matches!(
                                    error.kind(),
                                    ErrorKind::Configuration | ErrorKind::NotADatabase
                                ) =>
                        {
                            self.copied = None;
                            return Ok(false);
                        }
                        Err(error) => return Err(error.into()),
                    };
                    inspector.backup(&copy, |_, _| ())?;
                    inspector.finish()?;
                }
                self.copied = Some(self.line.copy()?);
            }
            Event::Restore => {
                let Some(line) = &self.copied else { return Ok(false) };
                self.line = line.copy()?;
                self.line.is_trusted = false;
                fs::remove_dir_all(&database)?;
                copy_files(&copy, &database)?;
                self.forget_deleted()?;
                self.guard()?;
            }
            Event::Move => {
                self.number += 1;
                fs::rename(&database, self.database())?;
            }
            Event::Empty => {
                fs::remove_dir_all(&database)?;
                fs::create_dir(&database)?;
                fs::write(database.join(DATABASE_FILE), b"")?;
                self.line = Line::new();
                self.guard()?;
            }
            Event::Unmount => {
                if self.unmounted.is_some() {
                    return Ok(false);
                }
                fs::rename(&database, self.root.path().join("unmounted"))?;
                fs::create_dir(&database)?;
                self.unmounted = Some(std::mem::replace(&mut self.line, Line::new()));
                self.guard()?;
            }
            Event::Mount => {
                let Some(line) = self.unmounted.take() else { return Ok(false) };
                self.line = line;
                fs::remove_dir_all(&database)?;
                fs::rename(self.root.path().join("unmounted"), &database)?;
                self.guarded.clear();
                self.forget_deleted()?;
            }
            Event::Plant => {
                self.plant()?;
            }
            Event::Settle | Event::Confirm => self.settle(event == Event::Confirm, task, report)?,
        }
        Ok(true)
    }

    fn is_new(&self) -> Outcome {
        Ok(self.line.held.last_seq()? == Seq::ZERO)
    }

    /// Forgets the data that another line has deleted: it had removed the shape, or added and removed one
    /// with its handle.
    fn forget_deleted(&mut self) -> Outcome<()> {
        let adds = self.data.adds()?;
        let shapes = View::of(&self.line.held).shapes.into_iter();
        let kept = shapes.map(|shape| (shape.handle, shape.created.get()));
        let kept =
            kept.filter(|(handle, created)| adds.get(handle).is_some_and(|adds| adds.contains(created)));
        let kept: BTreeSet<u64> = kept.map(|(_, created)| created).collect();
        self.line.stored.retain(|created| kept.contains(created));
        Ok(())
    }

    /// Guards the stored data that the database does not know: it may belong to a database that comes back.
    fn guard(&mut self) -> Outcome<()> {
        if !self.stores_data {
            return Ok(());
        }
        self.plant()?;
        let mut known: BTreeSet<Handle> =
            View::of(&self.line.held).shapes.into_iter().map(|shape| shape.handle).collect();
        // A copy knows the shapes that it has removed, too.
        known.extend(self.tasks()?);
        self.guarded = self.data.adds()?.into_keys().filter(|handle| !known.contains(handle)).collect();
        Ok(())
    }

    /// Creates data without a shape.
    fn plant(&mut self) -> Outcome<()> {
        for _ in 0..3 {
            let handle = shape_meta_core::conformance::handle(PLANTED + self.planted % 90);
            self.planted += 1;
            self.data.create(&handle, Seq::ZERO)?;
        }
        Ok(())
    }

    /// Opens the database until nothing is left to do, and checks C12: what is stored belongs to live shapes.
    fn settle(&mut self, confirms: bool, task: Task, report: &mut Report) -> Outcome<()> {
        let cleaner = StoredData(self.data.0.clone());
        let store = task.builder(cleaner).background_cleanup(false).open(self.database())?;
        let mut waits = self.clean(&store)?;
        if waits {
            let adds = self.data.adds()?;
            let has_data = View::of(&store).shapes.iter().any(|shape| adds.contains_key(&shape.handle));
            // A storage that has the data of no live shape may be another one. The trust ends with that.
            if has_data && self.line.is_trusted {
                return Err("C12: orphans of a trusted database wait for confirmation".into());
            }
            self.line.is_trusted = false;
        }
        if waits && confirms {
            self.check_data(&timeless(View::of(&store)), report)?;
            self.guarded.clear();
            store.confirm_orphans()?;
            waits = self.clean(&store)?;
            if waits {
                return Err("C12: confirmed orphans wait for confirmation".into());
            }
        }
        let left = timeless(View::of(&store));
        report.orphans +=
            store.cleanup_status().sweep.map_or(0, |sweep| if waits { 0 } else { sweep.orphans });
        if !waits {
            self.line.is_trusted = true;
            let live: BTreeSet<_> = left.shapes.iter().map(|shape| &shape.handle).collect();
            let adds = self.data.adds()?;
            let leaked: Vec<_> = adds.keys().filter(|handle| !live.contains(handle)).collect();
            if !leaked.is_empty() {
                return Err(format!("C12: stored data without a shape is left: {leaked:?}").into());
            }
        }
        self.check_data(&left, report)?;
        if !store.close(Duration::from_secs(60)).is_complete() {
            return Err("the store could not be closed".into());
        }
        drop(store);
        self.line.held = self.read_copy()?.0;
        Ok(())
    }

    /// Cleans and sweeps. Returns whether orphans wait for confirmation.
    fn clean(&self, store: &ShapeMeta) -> Outcome {
        store.flush(TIMEOUT)?;
        while store.clean_once()? {}
        let status = store.cleanup_status();
        if status.tasks > 0 {
            return Err(format!("C12: cleanup tasks are left: {status:?}").into());
        }
        Ok(status.sweep.ok_or("C12: the sweep has not ended")?.waits_for_confirmation)
    }

    /// Returns the handles of the removed shapes whose data the database has still to delete.
    fn tasks(&self) -> Outcome<Vec<Handle>> {
        let copy = tempfile::tempdir()?;
        copy_files(&self.database(), copy.path())?;
        let store = SqliteStore::open(copy.path(), SqliteOptions::default(), Arc::new(NoopObserver))?;
        let tasks = store.cleanup_tasks(None, usize::MAX)?;
        Ok(tasks.into_iter().map(|task| task.handle().clone()).collect())
    }

    /// Keeps the files, and returns their directory.
    pub fn keep(self) -> PathBuf {
        self.root.keep()
    }

    /// Returns the directory of the database.
    fn database(&self) -> PathBuf {
        self.root.path().join(format!("database-{}", self.number))
    }

    /// Returns the content of a copy of the files before recovery. The copy must pass the integrity check.
    fn read_copy(&self) -> Outcome<(MemoryStore, View)> {
        let copy = tempfile::tempdir()?;
        copy_files(&self.database(), copy.path())?;
        let options = SqliteOptions::default()
            .integrity_check(IntegrityCheck::Everything)
            .on_corruption(OnCorruption::Refuse);
        // A rollback journal is recovered in either mode.
        let store = SqliteStore::open(copy.path(), options.mode(Mode::Wal), Arc::new(NoopObserver))?;
        // Contradicting reads panic. That is a violation, and must not stop the run.
        let view = catch_unwind(AssertUnwindSafe(|| View::of(&store)));
        let view = view.map_err(|_| "its reads contradict each other (see the panic above)")?;
        Ok((check::copy(&store)?, timeless(view)))
    }
}

/// Returns the handles that a child may have added shapes with.
fn added(task: Task, log: &ChildLog) -> BTreeSet<Handle> {
    let mut added = BTreeSet::new();
    for (thread, reported) in (0..).zip(&log.did) {
        let script = if task.threads == 1 {
            Script::single_threaded(task.seed)
        } else {
            Script::for_thread(task.seed, thread)
        };
        // The child may have been killed during the step after the last one that it reported.
        let steps = script.take(reported.len() + 1);
        added.extend(steps.filter_map(|step| step.added().map(|shape| shape.handle.clone())));
    }
    added
}

fn copy_files(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
