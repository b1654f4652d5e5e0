use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use super::{
    Outcome,
    child::{CONNECTION, DATA, DIRECTORY, NAME, TASK, now},
    plan::{Moment, Task},
};

/// The reports of a child until it was killed.
#[derive(Debug, Default)]
pub(super) struct ChildLog {
    /// For each thread, the sequence number and time of each step; no sequence number if the step changed
    /// nothing.
    pub(super) did: Vec<Vec<(Option<u64>, u64)>>,
    /// The largest sequence number that was reported as durable.
    pub(super) durable: u64,
    /// The sequence numbers of the adds whose data was created.
    pub(super) stored: Vec<u64>,
    pub(super) opened: bool,
    /// The last reported activity, which is where the kill hit.
    pub(super) last: String,
    /// The time of the kill; `None` if the child ended before.
    pub(super) killed: Option<u64>,
}

/// Where the database of a child is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Directory(&'a Path),
    /// A connection string.
    Server(&'a str),
}

/// A child that is killed when the parent ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a child on the database in this place and on the stored data, if it has any, and kills it at this
/// moment.
pub(super) fn kill_at(
    moment: Moment,
    task: Task,
    binary: &Path,
    place: Place<'_>,
    data: Option<&Path>,
) -> Outcome<ChildLog> {
    let mut command = Command::new(binary);
    command.arg(NAME).env(TASK, task.text()).stdout(Stdio::piped());
    match place {
        Place::Directory(directory) => command.env(DIRECTORY, directory),
        Place::Server(connection) => command.env(CONNECTION, connection),
    };
    if let Some(data) = data {
        command.env(DATA, data);
    }
    let mut child = KillOnDrop(command.spawn()?);
    let mut out = BufReader::new(child.0.stdout.take().ok_or("its output is not piped")?);
    let mut log = ChildLog { did: vec![Vec::new(); task.threads as usize], ..ChildLog::default() };
    let mut line = String::new();
    let (mut left, mut opened) = (moment.times, None);
    while {
        line.clear();
        out.read_line(&mut line)? > 0
    } {
        // The last line of a killed child may be incomplete.
        let Some(words) = line.strip_suffix('\n') else { break };
        let words: Vec<_> = words.split(' ').collect();
        match words[..] {
            ["did", thread, seq, at] => {
                let seq: u64 = seq.parse()?;
                log.did[thread.parse::<usize>()?].push(((seq > 0).then_some(seq), at.parse()?));
            }
            ["stored", seq] => log.stored.push(seq.parse()?),
            ["durable", seq] => log.durable = log.durable.max(seq.parse()?),
            [activity] => {
                log.opened |= activity == "opened";
                activity.clone_into(&mut log.last);
            }
            _ => return Err(format!("unexpected line of the child: {line:?}").into()),
        }
        left = left.saturating_sub(u64::from(words[0] == moment.activity));
        let since = log.opened.then(|| opened.get_or_insert_with(Instant::now).elapsed());
        let is_late = since.is_some_and(|since| since >= moment.latest);
        if log.killed.is_none() && (left == 0 || is_late) {
            if left == 0 {
                // This is the random moment of the kill, not a wait for an event.
                thread::sleep(moment.delay);
            }
            log.killed = Some(now());
            child.0.kill()?;
        }
    }
    let status = child.0.wait()?;
    if status.success() {
        // It ended before the signal arrived.
        log.killed = None;
    } else if log.killed.is_none() {
        return Err(format!("the child failed: {status}, {task:?}").into());
    }
    Ok(log)
}
