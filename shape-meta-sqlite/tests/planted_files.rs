//! C11: links and pipes that another user of the directory puts under the names of our files are not
//! followed.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use shape_meta_core::{ShapeStoreExt, TrustedState};
use shape_meta_sqlite::{OnLiveOwner, SqliteStore};
use tempfile::TempDir;

use crate::support::{self, directory, live, options};

/// A file outside of the directory, to which the planted names lead.
struct Victim {
    path: PathBuf,
    /// What must not change: mode, owner, group.
    attributes: (u32, u32, u32),
    _directory: TempDir,
}

const CONTENT: &str = "a file of the system";

impl Victim {
    fn new() -> Self {
        let directory = directory();
        let path = directory.path().join("victim");
        fs::write(&path, CONTENT).expect("writes");
        Self { attributes: attributes(&path), path, _directory: directory }
    }

    fn assert_unchanged(&self, context: &str) {
        assert_eq!(fs::read_to_string(&self.path).expect("reads"), CONTENT, "{context}");
        assert_eq!(attributes(&self.path), self.attributes, "{context}");
    }
}

fn attributes(path: &Path) -> (u32, u32, u32) {
    let metadata = path.metadata().expect("it is there");
    (metadata.mode(), metadata.uid(), metadata.gid())
}

/// Puts something under a name.
type Plant<'a> = &'a dyn Fn(&Path);

fn filled(directory: &Path) -> SqliteStore {
    let store = support::open(directory, options());
    support::fill(&store, 1..=20);
    store
}

#[test]
fn c11_a_take_over_follows_no_planted_name() {
    let victim = Victim::new();
    let link = |name: &Path| symlink(&victim.path, name).expect("links");
    let hard_link = |name: &Path| fs::hard_link(&victim.path, name).expect("links");
    let pipe = |name: &Path| {
        assert!(Command::new("mkfifo").arg(name).status().expect("it is installed").success());
    };
    let planted: [(&str, Plant<'_>); 3] = [("a link", &link), ("a hard link", &hard_link), ("a pipe", &pipe)];
    for (what, plant) in planted {
        let directory = directory();
        let former = filled(directory.path());
        plant(&directory.path().join(format!("shape-meta.lock-{}", process::id())));
        let store = support::open(directory.path(), options().on_live_owner(OnLiveOwner::Fence));
        victim.assert_unchanged(what);
        let lock = directory.path().join("shape-meta.lock").symlink_metadata().expect("it is there");
        assert!(lock.is_file() && lock.nlink() == 1, "{what}");
        assert_eq!(live(&store).len(), 20, "{what}");
        drop(former);
    }
}

#[test]
fn c11_a_repair_follows_no_planted_name() {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let (victim, directory) = (Victim::new(), directory());
        let store = filled(directory.path());
        let name = directory.path().join(format!("shape-meta.sqlite3-salvaging{suffix}"));
        symlink(&victim.path, name).expect("links");
        store.rebuild_from(TrustedState::default()).expect("the disk works");
        victim.assert_unchanged(suffix);
        assert_eq!(live(&store).len(), 20, "{suffix}");
    }
}

/// A user who may write in the directory can make a repair fail, and nothing more.
#[test]
fn c11_a_repair_next_to_a_program_that_plants_links_ends() {
    let (victim, directory) = (Victim::new(), directory());
    let store = filled(directory.path());
    let name = directory.path().join("shape-meta.sqlite3-salvaging");
    let has_ended = AtomicBool::new(false);
    let outcomes: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                let _ = symlink(&victim.path, &name);
                let _ = fs::remove_file(&name);
            }
        });
        let outcomes = (0..20).map(|_| store.rebuild_from(TrustedState::default())).collect();
        has_ended.store(true, Ordering::Relaxed);
        outcomes
    });
    victim.assert_unchanged("links are planted");
    let database = directory.path().join("shape-meta.sqlite3").symlink_metadata().expect("it is there");
    assert!(database.is_file(), "{outcomes:?}");
    let repaired = store.rebuild_from(TrustedState::default()).expect("nothing plants links any more");
    assert_eq!((repaired.missing(), live(&store).len()), (0, 20), "{outcomes:?}");
}
