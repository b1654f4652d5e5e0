//! The parent process, which kills the children.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use fastrand::Rng;
use shape_meta::{IntegrityCheck, Mode, NoopObserver, OnCorruption, SqliteOptions, SqliteStore};
use shape_meta_core::{MemoryStore, conformance::View};
use tempfile::TempDir;

use super::{
    Outcome, Report,
    check::{self, timeless},
    child_log::kill_at,
    plan::{Moment, Task},
};

/// A database of the first schema version, as it was released.
const FIRST: &[u8] = include_bytes!("../../../../shape-meta-sqlite/tests/fixtures/v1.sqlite3");

/// One database on which several children work in succession.
pub struct Chain {
    directory: TempDir,
    /// The content of the database after the latest child.
    held: MemoryStore,
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
        let directory = tempfile::tempdir()?;
        let mut chain = Self { directory, held: MemoryStore::new(), origin: "no files", counted: false };
        if random.u8(..3) == 0 {
            fs::write(chain.directory.path().join("shape-meta.sqlite3"), FIRST)?;
            chain.origin = "version 1";
            chain.held = chain.read_copy()?.0;
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
        let log = kill_at(moment, task, binary, self.directory.path())?;
        report.rounds += 1;
        if !std::mem::replace(&mut self.counted, true) {
            *report.chains.entry(self.origin).or_default() += 1;
        }
        if log.killed.is_some() {
            report.kills += 1;
            *report.hits.entry(log.last.clone()).or_default() += 1;
        }
        report.acknowledged += log.did.iter().flatten().filter(|(seq, _)| seq.is_some()).count() as u64;
        // The check opens the database and so changes it. It runs on a copy.
        let checked = self.read_copy().map_err(|error| format!("C6: the database cannot be read: {error}"));
        let checked = checked.and_then(|(held, left)| {
            check::is_prefix(&self.held, &left, &log, task)?;
            if task.buffer > 0 && log.opened && log.killed.is_some() {
                let (lost, age) = check::lost(&left, &log);
                report.lost.push(lost);
                if lost > 0 {
                    report.ages.push(age);
                }
            }
            Ok(held)
        });
        match checked {
            Ok(held) => {
                self.held = held;
                Ok(true)
            }
            Err(wrong) => {
                let wrong = format!("{wrong}\n  round {}: {task:?}, {moment:?}", report.rounds);
                println!("{wrong}");
                report.violations.push(wrong);
                Ok(false)
            }
        }
    }

    /// Keeps the files, and returns their directory.
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    /// Returns the content of a copy of the files before recovery. The copy must pass the integrity check.
    fn read_copy(&self) -> Outcome<(MemoryStore, View)> {
        let copy = tempfile::tempdir()?;
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?;
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
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
