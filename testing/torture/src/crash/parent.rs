//! The process that kills.

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
    heard::kill_at,
    plan::{Moment, Task},
};

/// A database of the first version, as it was released.
const FIRST: &[u8] = include_bytes!("../../../../shape-meta-sqlite/tests/fixtures/v1.sqlite3");

/// One database after the other child has worked on it.
pub struct Chain {
    directory: TempDir,
    /// What it held when the latest child was gone.
    held: MemoryStore,
    origin: &'static str,
    counted: bool,
}

impl Chain {
    /// A new one, or one of an old version.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub fn begin(random: &mut Rng) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut chain = Self { directory, held: MemoryStore::new(), origin: "nothing", counted: false };
        if random.u8(..3) == 0 {
            fs::write(chain.directory.path().join("shape-meta.sqlite3"), FIRST)?;
            chain.origin = "version 1";
            chain.held = chain.look()?.0;
        }
        Ok(chain)
    }

    /// One round: a child works, is killed, and what it leaves is looked at. Says whether all was well.
    ///
    /// # Errors
    ///
    /// If the child cannot be started.
    pub fn round(&mut self, binary: &Path, random: &mut Rng, report: &mut Report) -> Outcome {
        let (task, moment) = (Task::draw(random), Moment::draw(random));
        let heard = kill_at(moment, task, binary, self.directory.path())?;
        report.rounds += 1;
        if !std::mem::replace(&mut self.counted, true) {
            *report.chains.entry(self.origin).or_default() += 1;
        }
        if heard.killed.is_some() {
            report.kills += 1;
            *report.hits.entry(heard.last.clone()).or_default() += 1;
        }
        report.acknowledged += heard.did.iter().flatten().filter(|(seq, _)| seq.is_some()).count() as u64;
        // Looking at it does what the next owner would do; so it is done to a copy.
        let checked = self.look().map_err(|error| format!("C6: what is left cannot be read: {error}"));
        let checked = checked.and_then(|(held, left)| {
            check::is_prefix(&self.held, &left, &heard, task)?;
            if task.buffer > 0 && heard.opened && heard.killed.is_some() {
                let (lost, age) = check::lost(&left, &heard);
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

    /// The files stay where they are.
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    /// What a copy of the files holds, before anybody recovers it. It must be sound.
    fn look(&self) -> Outcome<(MemoryStore, View)> {
        let copy = tempfile::tempdir()?;
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?;
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
        let options = SqliteOptions::default()
            .integrity_check(IntegrityCheck::Everything)
            .on_corruption(OnCorruption::Refuse);
        // A journal of the other mode is put right by whoever opens it.
        let store = SqliteStore::open(copy.path(), options.mode(Mode::Wal), Arc::new(NoopObserver))?;
        // Reads that contradict each other are a violation too, and no reason to stop.
        let view = catch_unwind(AssertUnwindSafe(|| View::of(&store)));
        let view = view.map_err(|_| "its reads contradict each other, see above")?;
        Ok((check::copy(&store)?, timeless(view)))
    }
}
