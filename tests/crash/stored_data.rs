//! C12 with a real process and real directories: a small service keeps a directory for each shape, and is
//! killed again and again.

use std::{
    collections::BTreeSet,
    env, fs, io,
    io::{BufRead, BufReader, Write, stdout},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use fastrand::Rng;
use shape_meta::{BoxError, Handle, ReadShapesExt, ShapeCleaner, ShapeMeta, StoredHandles, prelude::*};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{ALL, Composition, FlushSchedule, TIMEOUT, WAIT, directory, sqlite};

const NAME: &str = "crash::stored_data::service";
const DIRECTORY: &str = "SHAPE_META_SERVICE_DIRECTORY";
const TASK: &str = "SHAPE_META_SERVICE_TASK";
const KILLS: u64 = 6;

/// A directory for each shape.
struct Directories {
    root: PathBuf,
    calls: AtomicU64,
    /// Each call with this number fails half-way.
    fails_each: u64,
}

impl Directories {
    fn new(root: PathBuf, fails_each: u64) -> Self {
        fs::create_dir_all(&root).expect("it is created");
        Self { root, calls: AtomicU64::new(0), fails_each }
    }

    fn path(root: &Path, handle: &Handle) -> PathBuf {
        root.join(handle.file_name().expect("a test handle has one"))
    }
}

impl ShapeCleaner for Directories {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        let fails = self.calls.fetch_add(1, Ordering::Relaxed) % self.fails_each == self.fails_each - 1;
        for (at, handle) in handles.iter().enumerate() {
            if fails && at >= handles.len() / 2 {
                return Err("it fails on purpose".into());
            }
            match fs::remove_dir_all(Self::path(&self.root, handle)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        let entries = fs::read_dir(&self.root)?;
        Ok(Some(Box::new(entries.filter_map(|entry| match entry {
            Ok(entry) => Handle::from_file_name(entry.file_name()).map(Ok),
            Err(error) => Some(Err(error.into())),
        }))))
    }
}

fn open(composition: Composition, directory: &Path, fails_each: u64) -> ShapeMeta {
    let cleaner = Directories::new(directory.join("data"), fails_each);
    let composition = composition.with_flush_schedule(FlushSchedule::Frequent);
    let builder = composition.apply_to(ShapeMeta::builder(cleaner).sqlite(sqlite()));
    builder.open(directory.join("database")).expect("it opens")
}

#[test]
#[ignore = "a child process of the crash tests; it does nothing on its own"]
fn service() {
    let (Some(directory), Ok(task)) = (env::var_os(DIRECTORY), env::var(TASK)) else { return };
    let numbers: Vec<u64> = task.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [composition, seed] = numbers[..] else { panic!("the parent wrote a valid task") };
    let (directory, mut random) = (PathBuf::from(directory), Rng::with_seed(seed));
    let store = open(ALL[composition as usize], &directory, 4);
    report("\nopen\n");
    loop {
        // A few handles come back again and again, and others never.
        let number = if random.bool() { random.u64(1..6) } else { random.u64(10..1 << 40) };
        let handle = handle(number);
        match random.u64(0..100) {
            0 => drop(store.reset(WAIT).expect("it is accepted")),
            1..40 => drop(store.remove(&handle, WAIT)),
            _ => {
                if store.add(shape(number), WAIT).is_ok() {
                    let data = Directories::path(&directory.join("data"), &handle);
                    // The data of a former shape may still be there.
                    fs::create_dir_all(&data).expect("it is created");
                    fs::write(data.join("rows"), [7; 64]).expect("it is written");
                    if random.u64(0..8) > 0 {
                        store.mark_snapshot_complete(&handle, WAIT).expect("no one else removes it");
                    }
                }
            }
        }
        report("step\n");
    }
}

fn report(line: &str) {
    let mut out = stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the service, and kills it after this many steps.
fn kill_after(steps: u64, composition: usize, seed: u64, directory: &Path) {
    let child = Command::new(env::current_exe().expect("a test has a file"))
        .args([NAME, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(TASK, format!("{composition} {seed}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be run again");
    let mut child = KillOnDrop(child);
    let out = BufReader::new(child.0.stdout.take().expect("it is piped"));
    let mut reported = 0;
    for line in out.lines() {
        reported += u64::from(line.expect("the child writes text") == "step");
        if reported == steps {
            child.0.kill().expect("it can be killed");
        }
    }
    let status = child.0.wait().expect("it ends");
    assert!(reported >= steps && !status.success(), "the child ended by itself: {status}");
}

fn stored(directory: &Path) -> BTreeSet<Handle> {
    let entries =
        fs::read_dir(directory.join("data")).expect("it is read").map(|entry| entry.expect("it is read"));
    entries.filter_map(|entry| Handle::from_file_name(entry.file_name())).collect()
}

fn live(store: &ShapeMeta) -> BTreeSet<Handle> {
    store.list().expect("it reads").iter().map(|item| item.record.handle().clone()).collect()
}

#[test]
fn c12_kill_9_leaks_and_deletes_no_stored_data() {
    let seed = env::var("SHAPE_META_SERVICE_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("SHAPE_META_SERVICE_SEED={seed}");
    for (number, composition) in ALL.into_iter().enumerate() {
        let (directory, mut random) = (directory(), Rng::with_seed(seed ^ number as u64));
        // A service that was never started before finds an empty storage.
        drop(open(composition, directory.path(), u64::MAX));
        for kill in 0..KILLS {
            kill_after(random.u64(1..400), number, random.u64(..), directory.path());
            if kill % 2 == 0 {
                continue;
            }
            let store = open(composition, directory.path(), u64::MAX);
            let (live, before) = (live(&store), stored(directory.path()));
            let missing: Vec<_> = live.difference(&before).collect();
            assert!(missing.is_empty(), "{composition:?}: live without data: {missing:?}");
            store.flush(TIMEOUT).expect("the disk works");
            while store.clean_once().expect("the cleaner works") {}
            let (stored, status) = (stored(directory.path()), store.cleanup_status());
            assert_eq!(stored, live, "{composition:?}: {status:?}");
            assert_eq!((status.tasks, status.last_error.is_none()), (0, true));
            assert!(store.close(TIMEOUT).is_complete());
        }
    }
}
