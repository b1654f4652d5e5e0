use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use super::{
    Outcome,
    child::{DIRECTORY, NAME, TASK, now},
    plan::{Moment, Task},
};

/// What a child said until it was killed.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// For each thread, the place that each of its steps was given (none for what changed nothing), and when.
    pub(super) did: Vec<Vec<(Option<u64>, u64)>>,
    /// All that came up to here was durable.
    pub(super) durable: u64,
    pub(super) opened: bool,
    /// What it said last, but for steps and receipts: where it was.
    pub(super) last: String,
    /// When it was killed, if it did not end before.
    pub(super) killed: Option<u64>,
}

/// A child that does not outlive its parent.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a child work in this directory, and kills it at this moment if it comes.
pub(super) fn kill_at(moment: Moment, task: Task, binary: &Path, directory: &Path) -> Outcome<Heard> {
    let child = Command::new(binary)
        .arg(NAME)
        .env(DIRECTORY, directory)
        .env(TASK, task.text())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut child = Killed(child);
    let mut out = BufReader::new(child.0.stdout.take().ok_or("its output is not piped")?);
    let mut heard = Heard { did: vec![Vec::new(); task.threads as usize], ..Heard::default() };
    let mut line = String::new();
    let (mut left, mut opened) = (moment.times, None);
    while {
        line.clear();
        out.read_line(&mut line)? > 0
    } {
        // The last line of a child that was killed may be a part of one.
        let Some(words) = line.strip_suffix('\n') else { break };
        let words: Vec<_> = words.split(' ').collect();
        match words[..] {
            ["did", thread, seq, at] => {
                let seq: u64 = seq.parse()?;
                heard.did[thread.parse::<usize>()?].push(((seq > 0).then_some(seq), at.parse()?));
            }
            ["durable", seq] => heard.durable = heard.durable.max(seq.parse()?),
            [said] => {
                heard.opened |= said == "opened";
                said.clone_into(&mut heard.last);
            }
            _ => return Err(format!("the child said {line:?}").into()),
        }
        left = left.saturating_sub(u64::from(words[0] == moment.said));
        let since = heard.opened.then(|| opened.get_or_insert_with(Instant::now).elapsed());
        let is_late = since.is_some_and(|since| since >= moment.latest);
        if heard.killed.is_none() && (left == 0 || is_late) {
            if left == 0 {
                // Not a wait for something to happen: a moment that is drawn.
                thread::sleep(moment.delay);
            }
            heard.killed = Some(now());
            child.0.kill()?;
        }
    }
    let status = child.0.wait()?;
    if status.success() {
        // It was done before the signal came.
        heard.killed = None;
    } else if heard.killed.is_none() {
        return Err(format!("the child ended by itself: {status}, {task:?}").into());
    }
    Ok(heard)
}
