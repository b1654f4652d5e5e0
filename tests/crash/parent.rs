//! The process that kills.

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
    conformance::{Seen, View},
};

use super::child::{DIRECTORY, NAME, TASK, Task};
use shape_meta_harness::{
    compositions::sqlite,
    rows::{Rows, stranger},
};

/// What a child said before it was killed.
#[derive(Debug)]
pub(super) struct Heard {
    /// For each thread, the place that each of its steps was given; none for what changed nothing.
    pub(super) did: Vec<Vec<Option<u64>>>,
    /// All that came up to here was durable.
    pub(super) durable: u64,
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a child work in this directory, and kills it when it has told of so many steps. Where it is by then
/// is for the scheduler to say.
pub(super) fn kill_after(steps: u64, task: Task, directory: &Path) -> Heard {
    let child = Command::new(env::current_exe().expect("a test has a file"))
        .args([NAME, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(TASK, task.text())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be run again");
    let mut child = Killed(child);
    let mut out = BufReader::new(child.0.stdout.take().expect("it is piped"));
    let mut heard = Heard { did: vec![Vec::new(); task.threads as usize], durable: 0 };
    let (mut opened, mut told) = (false, 0);
    let mut line = String::new();
    loop {
        line.clear();
        out.read_line(&mut line).expect("the child speaks text");
        let Some(words) = line.strip_suffix('\n') else { break };
        match words.split(' ').collect::<Vec<_>>()[..] {
            ["open"] => opened = true,
            ["did", thread, seq] => {
                let seq = seq.parse().expect("a number");
                heard.did[thread.parse::<usize>().expect("a number")].push((seq > 0).then_some(seq));
                told += 1;
            }
            ["durable", _, seq] => heard.durable = heard.durable.max(seq.parse().expect("a number")),
            _ => {}
        }
        if opened && told == steps {
            child.0.kill().expect("it can be killed");
        }
    }
    let status = child.0.wait().expect("it ends");
    assert!(opened && told >= steps && !status.success(), "the child ended by itself: {status}, {heard:?}");
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    heard
}

/// What the database of a killed child holds, before anybody recovers it: how far the order has come, and
/// everything that can be read there.
pub(super) fn left(directory: &Path) -> View {
    let store =
        SqliteStore::open(directory, sqlite(), Arc::new(NoopObserver)).expect("it opens after a crash");
    assert!(store.report().quarantined.is_none(), "a crash is no damage");
    let view = forget_reads(View::of(&store));
    let mut loaded = 0;
    let seq = store.load(&mut |_| loaded += 1).expect("it can be read");
    assert_eq!((seq, loaded), (view.last_seq, view.counts.total), "and a cache would find the same");
    drop(store);
    let sound: String = stranger(directory)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(sound, "ok");
    assert_eq!(Rows::of(directory).count("to_clean"), 0, "the cleaner was done when the storm began");
    view
}

/// A reopening is a read of all.
pub(super) fn forget_reads(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| Seen { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}
