//! The commands over stacks in PostgreSQL, and the move between the two kinds of database.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use shape_meta_core::{
    Batch, Change, Handle, NewShape, NoopObserver, Seq, ShapeStore, SnapshotState, Stamp, StampCheck,
    Timestamp,
};
use shape_meta_postgres::{PoolOptions, PostgresOptions, PostgresPool, PostgresStore};
use shape_meta_sqlite::DiskIndexes;
use shape_meta_testing_postgres as server;

use crate::{
    support::{directory, fill, open, path, run, run_with, shape},
    words::differences,
};

/// The server, and a schema of its own.
struct Fixture {
    url: String,
    schema: String,
    pool: PostgresPool,
}

impl Fixture {
    /// Returns `None` if there is no server, and the test is skipped.
    fn new() -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let connection = server::shared()?;
        let pool = PoolOptions::parse(connection).expect("it is valid").address("10.0.0.7:3000");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            url: connection.to_owned(),
            schema: format!("cli_{}_{number}_{}", std::process::id(), Timestamp::now().as_micros()),
            pool: PostgresPool::new(pool).expect("the thread starts"),
        })
    }

    fn open(&self, stack: &str) -> PostgresStore {
        self.open_with(stack, PostgresOptions::default())
    }

    fn open_with(&self, stack: &str, options: PostgresOptions) -> PostgresStore {
        let options = options.schema(&*self.schema);
        PostgresStore::open(&self.pool, stack, options, Arc::new(NoopObserver)).expect("it opens")
    }

    /// Returns a command line: the command, the place, and the other arguments.
    fn line<'a>(&'a self, command: &[&'a str], stack: &'a str) -> Vec<&'a str> {
        let (name, rest) = command.split_first().expect("a command has a name");
        [&[*name, "--url", &self.url, "--schema", &self.schema, "--stack", stack], rest].concat()
    }

    fn stacks(&self) -> [&str; 5] {
        ["stacks", "--url", &self.url, "--schema", &self.schema]
    }

    /// Replaces what differs between runs.
    fn stable(&self, text: &str) -> String {
        let text = text
            .replace(&format!("process {}", std::process::id()), "process ID")
            .replace(&self.schema, "SCHEMA");
        let lines = text.lines().map(|line| {
            let line = match line.split_once(", host ").and_then(|(before, rest)| {
                Some((before, rest.split_once(", address").map(|(_, after)| after)?))
            }) {
                Some((before, after)) => format!("{before}, host HOST, address{after}"),
                None => line.to_owned(),
            };
            match line.split_once("server version  ") {
                Some(_) => "server version  VERSION".to_owned(),
                None if line.starts_with("table   ") => {
                    "table           SIZE in the tables of all stacks".into()
                }
                None => line.split(' ').map(without_age).collect::<Vec<_>>().join(" "),
            }
        });
        // The width of a column depends on the names in it.
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

/// Replaces the ages of shapes, of owners, and of leases.
fn without_age(word: &str) -> &str {
    let number = word.trim_end_matches(|one: char| "smhd".contains(one));
    let is_age = number.len() + 1 == word.len() && number.bytes().all(|one| one.is_ascii_digit());
    if is_age && !number.is_empty() { "AGE" } else { word }
}

const READ_ONLY: [&[&str]; 6] = [
    &["inspect"],
    &["list"],
    &["show", "0002-1768476874000000"],
    &["verify", "--definitions", "shape"],
    &["export"],
    &["orphans"],
];

#[test]
fn prints_this_of_a_stack() {
    let Some(fixture) = Fixture::new() else { return };
    // Each prints texts that a terminal would obey.
    let name = "tenant \u{202e}1";
    let stamp = StampCheck::new(Stamp::new(3, "source\u{1b}[2J"));
    let store = fixture.open_with(name, PostgresOptions::default().stamp(stamp));
    fill(&store, 1..=12);
    let mut hostile = shape(13);
    hostile.definition = "\u{1b}[2J".as_bytes().into();
    hostile.handle = Handle::new("13-\u{202e}31m").expect("valid");
    hostile.dependencies = Box::new([hostile.key]);
    let record = Arc::new(hostile.record(Seq::new(13)));
    let changes = vec![Change::Add { record, state: SnapshotState::Complete }];
    store.apply(&Batch { changes, through: Seq::new(13) }).expect("it applies");
    let reads = [(Seq::new(2), Timestamp::from_micros(2))];
    store.last_read_store().expect("it has one").save(&reads).expect("it saves");
    fixture.open("closed").close();

    let input = "0001-1768476874000000\nnot-there\n";
    for command in READ_ONLY {
        let ran = run_with(&fixture.line(command, name), input);
        let findings = ["orphans", "verify"].contains(&command[0]);
        assert_eq!(ran.code, i32::from(findings), "{command:?}: {}", ran.err);
        insta::assert_snapshot!(format!("stack_{}", command[0]), fixture.stable(&ran.out));
        let json = run_with(&fixture.line(&[command, &["--json"]].concat(), name), input);
        assert_eq!(json.code, ran.code, "{command:?}: text and JSON differ in the exit code");
        for line in json.out.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        assert!((ran.out.clone() + &json.out).chars().all(|c| !c.is_control() || c == '\n'), "{command:?}");
        let only_in_json: &[&str] = match command[0] {
            "inspect" => &["handle"],
            "list" => &["key", "hash", "indexed", "dependencies", "definition", "definition_hex"],
            "verify" => &["first_problems"],
            "export" => continue,
            _ => &[],
        };
        let different = differences(command, only_in_json, &json, &ran);
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
    let stacks = run(&fixture.stacks());
    assert_eq!(stacks.code, 0, "{}", stacks.err);
    insta::assert_snapshot!("stacks", fixture.stable(&stacks.out));
    let json = run(&[&fixture.stacks()[..], &["--json"]].concat());
    let rows: Vec<serde_json::Value> =
        json.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((rows[0]["stack"].as_str(), rows[0]["owner"].is_null()), (Some("closed"), true));
    assert_eq!((rows[1]["shapes"].as_u64(), rows[1]["owner"]["alive"].as_bool()), (Some(13), Some(true)));
    assert_eq!(rows[1]["owner"]["address"], "10.0.0.7:3000");
    assert!(rows[1]["owner"]["lease"].as_u64().is_some_and(|lease| lease <= 10_000_000));
}

/// The lines of an export without what an import makes anew.
fn without_seqs(text: &str) -> Vec<serde_json::Value> {
    let line = |line: &str| {
        let mut shape: serde_json::Value = serde_json::from_str(line).expect("JSON");
        shape.as_object_mut().expect("an object").remove("created_seq");
        shape
    };
    text.lines().map(line).collect()
}

#[test]
fn c13_a_move_between_sqlite_and_postgresql_keeps_every_shape() {
    let Some(fixture) = Fixture::new() else { return };
    let (from, to) = (directory(), directory());
    let store = open(from.path(), DiskIndexes::Maintained);
    fill(&store, 1..=30);
    // Gaps in the order, bytes that are no text, dependencies, and times.
    store.apply(&Batch { changes: Vec::new(), through: Seq::new(40) }).expect("it applies");
    let mut opaque: NewShape = shape(41);
    opaque.definition = b"\xff\xfe\x00".as_slice().into();
    opaque.dependencies = Box::new([opaque.key]);
    opaque.created_at = None;
    opaque.indexed = false;
    let record = Arc::new(opaque.record(Seq::new(41)));
    let changes = vec![Change::Add { record, state: SnapshotState::Complete }];
    store.apply(&Batch { changes, through: Seq::new(41) }).expect("it applies");
    let reads: Vec<_> =
        (1..=20).map(|number| (Seq::new(number), Timestamp::from_micros(1_000 + number))).collect();
    store.last_read_store().expect("it has them").save(&reads).expect("it saves");
    store.close().expect("it closes");

    let export = run(&["export", path(&from)]);
    assert_eq!((export.code, export.out.lines().count()), (0, 31), "{}", export.err);
    let import = run_with(&fixture.line(&["import"], "moved"), &export.out);
    assert_eq!((import.code, import.out.as_str()), (0, "added: 31, skipped: 0\n"), "{}", import.err);
    let moved = run(&fixture.line(&["export"], "moved"));
    assert_eq!(without_seqs(&moved.out), without_seqs(&export.out));
    let verified = run(&fixture.line(&["verify"], "moved"));
    assert_eq!(verified.code, 0, "{}", verified.out);
    // It was released, so no lease is in the way.
    let inspected = run(&fixture.line(&["inspect", "--json"], "moved"));
    assert!(inspected.out.contains(r#""owner":null"#), "{}", inspected.out);

    let import = run_with(&["import", path(&to)], &moved.out);
    assert_eq!(import.code, 0, "{}", import.err);
    assert_eq!(without_seqs(&run(&["export", path(&to)]).out), without_seqs(&export.out));

    // A second import, of a file, skips what is there.
    let file = to.path().join("lines");
    std::fs::write(&file, &export.out).expect("it is written");
    let again = run(&fixture.line(&["import", file.to_str().expect("UTF-8")], "moved"));
    assert_eq!((again.code, again.out.lines().next()), (1, Some("added: 0, skipped: 31")), "{}", again.err);
}

#[test]
fn exit_codes_of_stacks() {
    let Some(fixture) = Fixture::new() else { return };
    let code = |arguments: &[&str]| {
        let ran = run(arguments);
        (ran.code, ran.err)
    };
    let (found, text) = code(&fixture.stacks());
    assert_eq!(found, 3, "there are no tables: {text}");
    let store = fixture.open("stack");
    fill(&store, 1..=2);
    let (found, text) = code(&fixture.line(&["inspect"], "absent"));
    assert_eq!(found, 3, "there is no such stack: {text}");
    let (found, text) = code(&fixture.line(&["import"], "stack"));
    assert_eq!(found, 4, "it has a live owner: {text}");
    assert!(text.contains("10.0.0.7:3000"), "{text}");
    let (found, text) = code(&fixture.line(&["show", "absent"], "stack"));
    assert_eq!(found, 1, "there is no such shape: {text}");
    assert_eq!(code(&["inspect", "--url", "host=127.0.0.1 port=1 user=x", "--stack", "x"]).0, 6);
    for invalid in [
        &["inspect"][..],
        &["inspect", "--url", &fixture.url],
        &["inspect", "--stack", "x"],
        &["inspect", "dir", "--url", &fixture.url, "--stack", "x"],
        &["show", "--url", &fixture.url, "--stack", "x"],
        &["show", "dir", "handle", "--url", &fixture.url, "--stack", "x"],
        &["show", "dir"],
        &["backup", "--url", &fixture.url, "--stack", "x", "--to", "y"],
        &["stacks"],
    ] {
        let (found, text) = code(invalid);
        assert_eq!(found, 2, "{invalid:?}: {text}");
    }
}

/// Whatever is wrong with a command line, its password is printed nowhere.
#[test]
fn c11_a_password_is_never_printed() {
    let secret = "s3cret";
    let urls = [
        format!("postgres://user:{secret}@127.0.0.1:1/db"),
        format!("postgres://user:{secret}@127.0.0.1:port/db"),
        format!("postgres://user:{secret}@127.0.0.1:1/db?nonsense=1"),
        format!("postgres://user@127.0.0.1:1/db?password={secret}&sslmode=nonsense"),
        format!("postgres://user:a/b@{secret}@127.0.0.1:1"),
        format!("host=127.0.0.1 port=1 user=x password={secret}"),
        format!("host=127.0.0.1 port=1 user=x password='{secret}"),
        format!("host=127.0.0.1 port=1 user=x password=a {secret}=x"),
        format!("host=127.0.0.1 port=1 user=x password=a {secret}"),
        format!("postgres://user:{secret}%zz@127.0.0.1:1/db"),
    ];
    for url in &urls {
        for line in [
            &["inspect", "--url", url, "--stack", "x"][..],
            &["stacks", "--url", url],
            &["inspect", url],
            &["show", url, "handle"],
            &["inspect", "directory", url],
            &["stacks", url],
            &["inspect", "--url", url],
            &["import", "--url", url, "--stack", "x", "--nonsense"],
        ] {
            let ran = run(line);
            assert_ne!(ran.code, 0, "{line:?}");
            assert!(!ran.err.contains(secret) && !ran.out.contains(secret), "{line:?}: {}", ran.err);
        }
    }
}
