//! The parent process, which kills its child.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use shape_meta::{NoopObserver, SqliteStore};
use shape_meta_core::{
    ShapeStore,
    conformance::{ShapeView, View},
};

use super::child::{DIRECTORY, NAME, TASK, Task};
use shape_meta_harness::{
    compositions::sqlite,
    rows::{Rows, raw_connection},
};

/// The reports of a child before it was killed.
#[derive(Debug)]
pub(super) struct ChildLog {
    /// For each thread, the sequence number of each step; `None` if the step changed nothing.
    pub(super) did: Vec<Vec<Option<u64>>>,
    /// The largest sequence number that was reported as durable.
    pub(super) durable: u64,
}

/// A child that is killed when its test ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a child in this directory, and kills it after its report of this many steps. How far it is by then
/// depends on the scheduler.
pub(super) fn kill_after(steps: u64, task: Task, directory: &Path) -> ChildLog {
    let child = Command::new(env::current_exe().expect("a test has a file"))
        .args([NAME, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(TASK, task.text())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be run again");
    let mut child = KillOnDrop(child);
    let mut out = BufReader::new(child.0.stdout.take().expect("it is piped"));
    let mut log = ChildLog { did: vec![Vec::new(); task.threads as usize], durable: 0 };
    let (mut opened, mut reported) = (false, 0);
    let mut line = String::new();
    loop {
        line.clear();
        out.read_line(&mut line).expect("the child writes text");
        let Some(words) = line.strip_suffix('\n') else { break };
        match words.split(' ').collect::<Vec<_>>()[..] {
            ["open"] => opened = true,
            ["did", thread, seq] => {
                let seq = seq.parse().expect("a number");
                log.did[thread.parse::<usize>().expect("a number")].push((seq > 0).then_some(seq));
                reported += 1;
            }
            ["durable", _, seq] => log.durable = log.durable.max(seq.parse().expect("a number")),
            _ => {}
        }
        if opened && reported == steps {
            child.0.kill().expect("it can be killed");
        }
    }
    let status = child.0.wait().expect("it ends");
    assert!(opened && reported >= steps && !status.success(), "the child ended by itself: {status}, {log:?}");
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    log
}

/// Returns the content of a killed child's database before recovery, read in every way.
pub(super) fn remaining(directory: &Path) -> View {
    let store =
        SqliteStore::open(directory, sqlite(), Arc::new(NoopObserver)).expect("it opens after a crash");
    assert!(store.report().quarantined.is_none(), "a crash is no damage");
    let view = forget_reads(View::of(&store));
    let mut loaded = 0;
    let seq = store.load(&mut |_| loaded += 1).expect("it can be read");
    assert_eq!((seq, loaded), (view.last_seq, view.counts.total), "a cache loads the same");
    drop(store);
    let integrity: String = raw_connection(directory)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(integrity, "ok");
    assert_eq!(Rows::of(directory).count("cleanup"), 0, "the cleaner had finished before the storm");
    view
}

/// Drops the times of the last reads, because a reopening counts as a read of every shape.
pub(super) fn forget_reads(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| ShapeView { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}
