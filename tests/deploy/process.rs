//! The parent's side of a child.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

pub(super) const DIRECTORY: &str = "SHAPE_META_DEPLOY_DIRECTORY";

/// So many lines are listened to for one that should come.
const PATIENCE: usize = 500_000;

/// What a child has said so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The numbers of the shapes that it has added, with the places at which they became complete.
    pub(super) added: BTreeMap<u64, u64>,
    /// All that came up to here was durable.
    pub(super) durable: u64,
    pub(super) reads: usize,
    pub(super) refreshes: usize,
    /// What it had not written when it was closed.
    pub(super) unwritten: u64,
    /// What should not be.
    pub(super) complaints: Vec<String>,
}

/// A child that does not outlive its test.
pub(super) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    to: ChildStdin,
    heard: Heard,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(super) fn start(name: &str, directory: &Path) -> Self {
        let mut child = Command::new(env::current_exe().expect("a test has a file"))
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a test can be run again");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let to = child.stdin.take().expect("it is piped");
        Self { child, out, to, heard: Heard::default() }
    }

    pub(super) fn heard(&self) -> &Heard {
        &self.heard
    }

    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("it listens");
    }

    /// Listens until it says this, or something that begins so.
    pub(super) fn hear(&mut self, wanted: &str) {
        self.listen(wanted, |line, _| line.starts_with(wanted));
    }

    /// Listens until it has added so many more.
    pub(super) fn hear_adds(&mut self, more: usize) {
        let wanted = self.heard.added.len() + more;
        self.listen("adds", |_, heard| heard.added.len() >= wanted);
    }

    /// Listens until it has read so often.
    pub(super) fn hear_reads(&mut self, wanted: usize) {
        self.listen("reads", |_, heard| heard.reads >= wanted);
    }

    fn listen(&mut self, wanted: &str, is_it: impl Fn(&str, &Heard) -> bool) {
        for _ in 0..PATIENCE {
            let Some(line) = self.line() else { panic!("it has ended without {wanted:?}: {:?}", self.heard) };
            if is_it(&line, &self.heard) {
                return;
            }
        }
        panic!("it goes on without {wanted:?}");
    }

    /// Listens to its end.
    pub(super) fn end(mut self) -> Heard {
        while self.line().is_some() {}
        assert!(self.child.wait().expect("it is ours").success());
        std::mem::take(&mut self.heard)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it speaks text");
        let line = line.strip_suffix('\n')?.to_owned();
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["added", shape, place] => {
                self.heard.added.insert(number(shape), number(place));
            }
            ["durable", place] => self.heard.durable = self.heard.durable.max(number(place)),
            ["reads", more] => self.heard.reads += number(more) as usize,
            ["refreshed"] => self.heard.refreshes += 1,
            ["closed", unwritten] => self.heard.unwritten = number(unwritten),
            ["complaint:", ..] if self.heard.complaints.len() < 5 => self.heard.complaints.push(line.clone()),
            _ => {}
        }
        Some(line)
    }
}
