//! Random histories next to a model of the storage, in which files are restored, emptied and made anew, and
//! owners are fenced (C12, C13).

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use proptest::prelude::*;
use shape_meta::{Handle, MutateShapesExt, OnLiveOwner, ReadShapes, ShapeMeta, StoreControl, Wait};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{ALL, Composition, DIRECT, PRODUCT, TIMEOUT, WAIT, directory, sqlite};
use shape_meta_sqlite::Inspector;
use tempfile::TempDir;

use super::support::{Storage, add, builder, clean, flush, handles, open, remove, settle};

const DATABASE: &str = "shape-meta.sqlite3";

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Adds a shape, creates its data, and completes its snapshot.
    Add(u64),
    Remove(u64),
    Flush,
    /// Runs one part of the cleanup.
    Clean,
    Reopen,
    /// Keeps a copy of the files, or a backup.
    Save {
        is_backup: bool,
    },
    /// Closes the store and opens the latest copy in the place of its database.
    Restore,
    /// Closes the store and empties its file.
    Empty,
    /// Renames the directory next to the live store, and opens a new database in its place.
    Recreate,
    /// Opens the database by fencing its live owner.
    Fence,
    /// Every former owner flushes and cleans.
    Former,
    /// The application confirms orphans.
    Confirm,
}

fn op() -> impl Strategy<Value = Op> {
    let number = 1_u64..8;
    prop_oneof![
        8 => number.clone().prop_map(Op::Add),
        6 => number.prop_map(Op::Remove),
        5 => Just(Op::Flush),
        6 => Just(Op::Clean),
        1 => Just(Op::Reopen),
        2 => any::<bool>().prop_map(|is_backup| Op::Save { is_backup }),
        2 => Just(Op::Restore),
        1 => Just(Op::Empty),
        1 => Just(Op::Recreate),
        2 => Just(Op::Fence),
        3 => Just(Op::Former),
        1 => Just(Op::Confirm),
    ]
}

struct Play {
    composition: Composition,
    top: TempDir,
    storage: Storage,
    /// `None` only while it is opened again.
    store: Option<ShapeMeta>,
    /// The owners whose place another one has taken. They are alive.
    former: Vec<ShapeMeta>,
    /// The stored data that the database does not know, and must keep without the application's word.
    guarded: BTreeSet<Handle>,
    set_aside: u32,
}

impl Play {
    fn new(composition: Composition) -> Self {
        let (top, storage) = (directory(), Storage::listing());
        let guarded = BTreeSet::new();
        let mut play =
            Self { composition, top, storage, store: None, former: Vec::new(), guarded, set_aside: 0 };
        play.storage.create(handle(100));
        play.open();
        play.guard();
        play
    }

    fn store(&self) -> &ShapeMeta {
        self.store.as_ref().expect("it is open")
    }

    fn path(&self) -> PathBuf {
        self.top.path().join("live")
    }

    fn copy(&self) -> PathBuf {
        self.top.path().join("copy")
    }

    fn open(&mut self) {
        self.store = Some(open(self.composition, &self.path(), &self.storage));
    }

    fn close(&mut self) {
        assert!(self.store().close(TIMEOUT).is_complete());
        self.store = None;
    }

    fn live(&self) -> BTreeSet<Handle> {
        let scan = self.store().scan().expect("it reads");
        scan.map(|item| item.expect("it reads").record.handle().clone()).collect()
    }

    /// Moves the files of a database that is open or closed out of the way.
    fn set_aside(&mut self) {
        self.set_aside += 1;
        let aside = self.top.path().join(format!("aside-{}", self.set_aside));
        fs::rename(self.path(), aside).expect("it is renamed");
    }

    /// Copies a directory in another process: this one would give up its locks on the files.
    fn run(command: &mut Command) {
        assert!(command.status().expect("the command can be started").success(), "{command:?}");
    }

    /// Guards the stored data that the database, which was just opened, does not know.
    fn guard(&mut self) {
        let database = self.store().database().expect("it has one");
        let tasks = database.cleanup_tasks(None, usize::MAX).expect("it reads");
        let mut known = self.live();
        known.extend(tasks.iter().map(|task| task.handle().clone()));
        self.guarded = self.storage.stored().into_iter().filter(|handle| !known.contains(handle)).collect();
    }

    fn play(&mut self, op: Op) {
        let without_data = |play: &Self| -> BTreeSet<Handle> {
            let stored: BTreeSet<_> = play.storage.stored().into_iter().collect();
            play.live().difference(&stored).cloned().collect()
        };
        let missing = without_data(self);
        // A restored shape may be one whose data was deleted since.
        let mut may_miss = matches!(op, Op::Restore);
        match op {
            Op::Add(number) => {
                if self.store().add(shape(number), Wait::No).is_ok() {
                    self.storage.create(handle(number));
                    self.guarded.remove(&handle(number));
                    self.store().mark_snapshot_complete(&handle(number), Wait::No).expect("it is live");
                }
            }
            Op::Remove(number) => drop(self.store().remove(&handle(number), Wait::No)),
            Op::Flush => flush(self.store()),
            Op::Clean => drop(self.store().clean_once().expect("the cleaner works")),
            Op::Reopen => {
                self.close();
                self.open();
            }
            Op::Save { is_backup } => {
                let (from, to) = (self.path(), self.copy());
                if to.exists() {
                    fs::remove_dir_all(&to).expect("it is deleted");
                }
                if is_backup {
                    let inspector = Inspector::open(&from).expect("it opens");
                    inspector.backup(&to, |_, _| ()).expect("it is copied");
                    inspector.finish().expect("nothing has replaced it");
                } else {
                    Self::run(Command::new("cp").arg("-R").args([from, to]));
                }
            }
            Op::Restore if !self.copy().exists() => may_miss = false,
            Op::Restore => {
                self.close();
                self.set_aside();
                Self::run(Command::new("cp").arg("-R").args([self.copy(), self.path()]));
                self.open();
                self.guard();
            }
            Op::Empty => {
                self.close();
                self.set_aside();
                fs::create_dir(self.path()).expect("it is new");
                fs::write(self.path().join(DATABASE), b"").expect("it is new");
                self.open();
                self.guard();
            }
            Op::Recreate => {
                self.set_aside();
                let former = self.store.take().expect("it is open");
                self.former.push(former);
                self.open();
                self.guard();
            }
            Op::Fence => {
                let options = sqlite().on_live_owner(OnLiveOwner::Fence);
                let second = builder(self.composition, &self.storage).sqlite(options);
                let second = second.open(self.path()).expect("it takes over");
                self.storage.watch(&second);
                self.former.extend(self.store.replace(second));
            }
            Op::Former => {
                let before = self.storage.stored();
                for former in &self.former {
                    drop(former.flush(TIMEOUT));
                    drop(former.clean_once());
                    drop(former.confirm_orphans());
                    drop(former.clean_once());
                }
                assert_eq!(self.storage.stored(), before, "C13: a former owner deletes stored data");
            }
            Op::Confirm => {
                self.store().confirm_orphans().expect("it is written");
                self.guarded.clear();
            }
        }
        let now_missing = without_data(self);
        assert!(
            may_miss || now_missing.is_subset(&missing),
            "{op:?}: live shapes lost data: {now_missing:?}"
        );
        self.assert_guarded(op);
    }

    fn assert_guarded(&self, op: impl std::fmt::Debug) {
        let stored: BTreeSet<_> = self.storage.stored().into_iter().collect();
        let deleted: Vec<_> = self.guarded.difference(&stored).collect();
        assert!(deleted.is_empty(), "{op:?}: deleted without the application's word: {deleted:?}");
    }

    /// Everything is durable, the cleaner works, and the sweep of an open has ended.
    fn finish(mut self) {
        self.play(Op::Former);
        self.close();
        self.open();
        settle(self.store());
        self.assert_guarded("the end");
        let waits = |play: &Self| {
            let sweep = play.store().cleanup_status().sweep.expect("it has ended");
            sweep.waits_for_confirmation
        };
        if waits(&self) {
            self.play(Op::Confirm);
            settle(self.store());
            assert!(!waits(&self), "what was confirmed does not wait");
        }
        let (live, stored) = (self.live(), self.storage.stored());
        let leaked: Vec<_> = stored.iter().filter(|handle| !live.contains(*handle)).collect();
        assert!(leaked.is_empty(), "stored data without a shape is left: {leaked:?}");
        assert_eq!(self.store().cleanup_status().tasks, 0);
    }
}

fn play(composition: Composition, ops: &[Op]) {
    let mut play = Play::new(composition);
    for op in ops {
        play.play(*op);
    }
    play.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c12_restores_and_second_owners_keep_stored_data(
        ops in prop::collection::vec(op(), 1..50),
        at in 0..ALL.len(),
    ) {
        play(ALL[at], &ops);
    }
}

/// The removal is durable in a database whose directory has another name now. A shape of the new database may
/// have the handle.
#[test]
fn c13_an_owner_without_its_place_cleans_nothing() {
    for composition in [DIRECT, PRODUCT] {
        let (top, storage) = (directory(), Storage::default());
        let path = top.path().join("live");
        let former = open(composition, &path, &storage);
        add(&former, &storage, 1..=3);
        remove(&former, [1, 2]);
        flush(&former);
        fs::rename(&path, top.path().join("aside")).expect("it is renamed");
        let store = open(composition, &path, &storage);
        add(&store, &storage, [1]);
        drop(former.clean_once());
        drop(former.clean_once());
        assert_eq!(storage.stored(), handles([1, 2, 3]), "{composition:?}");
        store.add(shape(4), WAIT).expect("the new owner works");
        clean(&store);
        assert_eq!(storage.stored(), handles([1, 2, 3]), "{composition:?}");
    }
}
