//! The parent's side of a child.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

pub(super) const DIRECTORY: &str = "SHAPE_META_DEPLOY_DIRECTORY";

/// The limit on lines that are read while waiting for an expected one.
const MAX_LINES: usize = 500_000;

/// The reports of a child so far.
#[derive(Debug, Default)]
pub(super) struct ChildLog {
    /// The numbers of the shapes that it has added, with the sequence numbers at which they became complete.
    pub(super) added: BTreeMap<u64, u64>,
    /// The largest sequence number that was reported as durable.
    pub(super) durable: u64,
    pub(super) reads: usize,
    pub(super) refreshes: usize,
    /// The number of mutations that it had not written when it was closed.
    pub(super) unwritten: u64,
    /// The violations that it has seen.
    pub(super) complaints: Vec<String>,
}

/// A child that is killed when its test ends.
pub(super) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    to: ChildStdin,
    log: ChildLog,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
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
        Self { child, out, to, log: ChildLog::default() }
    }

    pub(super) fn log(&self) -> &ChildLog {
        &self.log
    }

    pub(super) fn send(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("the child reads");
    }

    /// Reads until a line that begins with this text.
    pub(super) fn wait_for(&mut self, wanted: &str) {
        self.read_until(wanted, |line, _| line.starts_with(wanted));
    }

    /// Reads until the child has added this many more shapes.
    pub(super) fn wait_for_adds(&mut self, more: usize) {
        let wanted = self.log.added.len() + more;
        self.read_until("adds", |_, log| log.added.len() >= wanted);
    }

    /// Reads until the child has reported this many reads.
    pub(super) fn wait_for_reads(&mut self, wanted: usize) {
        self.read_until("reads", |_, log| log.reads >= wanted);
    }

    /// Reads until the child has reported this many refreshes.
    pub(super) fn wait_for_refreshes(&mut self, wanted: usize) {
        self.read_until("refreshes", |_, log| log.refreshes >= wanted);
    }

    fn read_until(&mut self, wanted: &str, is_match: impl Fn(&str, &ChildLog) -> bool) {
        for _ in 0..MAX_LINES {
            let Some(line) = self.line() else {
                panic!("the child has ended without {wanted:?}: {:?}", self.log)
            };
            if is_match(&line, &self.log) {
                return;
            }
        }
        panic!("no {wanted:?} in {MAX_LINES} lines");
    }

    /// Reads until the child ends.
    pub(super) fn end(mut self) -> ChildLog {
        while self.line().is_some() {}
        assert!(self.child.wait().expect("it is a child").success());
        std::mem::take(&mut self.log)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it writes text");
        let line = line.strip_suffix('\n')?.to_owned();
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["added", shape, seq] => {
                self.log.added.insert(number(shape), number(seq));
            }
            ["durable", seq] => self.log.durable = self.log.durable.max(number(seq)),
            ["reads", more] => self.log.reads += number(more) as usize,
            ["refreshed"] => self.log.refreshes += 1,
            ["closed", unwritten] => self.log.unwritten = number(unwritten),
            ["complaint:", ..] if self.log.complaints.len() < 5 => self.log.complaints.push(line.clone()),
            _ => {}
        }
        Some(line)
    }
}
