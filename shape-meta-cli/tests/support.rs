use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use shape_meta_core::{
    Batch, Change, Handle, NewShape, NoopObserver, Relation, Seq, Shape, ShapeStore, SnapshotState,
    TableName, Timestamp,
};
use shape_meta_sqlite::{DiskIndexes, Durability, SqliteOptions, SqliteStore};

pub(crate) const DATABASE: &str = "shape-meta.sqlite3";

/// The exit code, standard output and standard error of the command.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the command with this standard input.
pub(crate) fn run_with(arguments: &[&str], input: &str) -> Ran {
    run_bytes(arguments, input.as_bytes())
}

/// Runs the command with this standard input.
pub(crate) fn run_bytes(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shape-meta"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // The command may exit before it has read its input.
    let _ = child.stdin.take().expect("standard input is piped").write_all(input);
    let output = child.wait_with_output().expect("the command exits");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code().expect("the command is not killed by a signal"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, "")
}

/// Every command that only reads, without its directory.
pub(crate) const READ_ONLY: [&[&str]; 7] = [
    &["inspect"],
    &["list"],
    &["show", "0002-1768476874000000"],
    &["verify", "--definitions", "shape"],
    &["explain"],
    &["export"],
    &["orphans"],
];

/// Returns the command with its directory as the first argument.
pub(crate) fn with_directory<'a>(command: &[&'a str], directory: &'a str) -> Vec<&'a str> {
    let (name, rest) = command.split_first().expect("a command has a name");
    [&[*name, directory], rest].concat()
}

/// Returns a directory that is deleted when the test ends.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory is created")
}

pub(crate) fn path(directory: &tempfile::TempDir) -> &str {
    directory.path().to_str().expect("UTF-8")
}

pub(crate) fn shape(number: u64) -> NewShape {
    let table = if number.is_multiple_of(2) { "todos" } else { "users" };
    let definition = Shape::new(TableName::new("public", table), Relation::new(16_500 + (number % 2) as u32))
        .pk(["id"])
        .columns(["id", "text"])
        .filter(format!("owner = {number}"));
    let handle = Handle::new(format!("{number:04}-1768476874000000")).expect("valid");
    // Its age has the same number of digits for a long time.
    NewShape { created_at: Some(Timestamp::from_micros(number)), ..NewShape::of(handle, &definition) }
}

pub(crate) fn open(directory: &Path, disk_indexes: DiskIndexes) -> SqliteStore {
    let options = SqliteOptions::default().durability(Durability::ProcessCrash).disk_indexes(disk_indexes);
    SqliteStore::open(directory, options, Arc::new(NoopObserver)).expect("the store opens")
}

/// Adds shapes with these numbers. The third of every ten is pending, the fourth started, the rest complete.
pub(crate) fn fill(store: &impl ShapeStore, numbers: std::ops::RangeInclusive<u64>) {
    let through = Seq::new(*numbers.end());
    let changes = numbers.map(|number| Change::Add {
        record: Arc::new(shape(number).record(Seq::new(number))),
        state: match number % 10 {
            3 => SnapshotState::Pending,
            4 => SnapshotState::Started,
            _ => SnapshotState::Complete,
        },
    });
    store.apply(&Batch { changes: changes.collect(), through }).expect("the batch applies");
}

/// Returns the name and content of every file in a directory. Another process reads them: this one would give
/// up the locks of its own store by closing the files.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let copy = self::directory();
    let copied = Command::new("cp").arg("-r").arg(directory.join(".")).arg(copy.path()).status();
    assert!(copied.expect("cp starts").success());
    fs::read_dir(copy.path())
        .expect("reads")
        .map(|entry| {
            let path = entry.expect("reads").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("reads"))
        })
        .collect()
}

/// Replaces what differs between runs.
pub(crate) fn stable(text: &str, directory: &tempfile::TempDir) -> String {
    let text = text
        .replace(path(directory), "DIRECTORY")
        .replace(&format!("process {}", std::process::id()), "process ID");
    // The host, and the time since the owner opened the database.
    let text = match text
        .split_once("process ID, host ")
        .and_then(|(before, rest)| Some((before, rest.split_once(" ago")?)))
    {
        Some((before, (_, after))) => format!("{before}process ID, host HOST, opened AGE ago{after}"),
        None => text,
    };
    // The ages of shapes.
    let is_age = |one: char| one.is_ascii_digit() || one == 'd';
    text.split(" ago").map(|part| part.trim_end_matches(is_age)).collect::<Vec<_>>().join(" ago")
}
