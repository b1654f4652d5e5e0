//! What an operator may count on: owner and mode of files, hostile names, closed pipes, and inputs of any
//! bytes.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use shape_meta_core::{
    Batch, Change, Handle, NewShape, Relation, Seq, Shape, ShapeStore, SnapshotState, TableName,
};
use shape_meta_sqlite::DiskIndexes;

use crate::support::{
    DATABASE, directory, files, fill, open, path, run, run_bytes, run_with, with_directory,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_shape-meta");

/// A closed database with 20 shapes.
fn closed() -> tempfile::TempDir {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=20);
    store.close().expect("closes");
    directory
}

fn corrupt(directory: &Path) {
    let file = directory.join(DATABASE);
    let mut bytes = fs::read(&file).expect("reads");
    let at = bytes.windows(11).position(|window| window == b"owner = 17\"").expect("it is in the file");
    bytes[at + 8] = b'9';
    fs::write(&file, bytes).expect("writes");
}

#[test]
fn c11_repair_of_a_sound_database_changes_nothing_without_force() {
    let directory = closed();
    let before = files(directory.path());
    let ran = run(&["repair", path(&directory)]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("is sound: 20 shapes verified") && ran.out.contains("--force"), "{}", ran.out);
    assert_eq!(run(&["repair", path(&directory), "--json"]).out.trim(), r#"{"shapes":20,"sound":true}"#);
    let mut after = files(directory.path());
    after.retain(|name, bytes| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "nothing is quarantined");
    assert_eq!(before[DATABASE], after[DATABASE]);

    let forced = run(&["repair", path(&directory), "--force"]);
    assert!(forced.code == 0 && forced.out.contains("20 shapes salvaged"), "{}{}", forced.out, forced.err);
}

#[cfg(unix)]
#[test]
fn c11_repair_and_backup_keep_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let directory = closed();
    let database = directory.path().join(DATABASE);
    fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).expect("changes the mode");
    // Only root may give files away. The mode is checked in any case.
    let is_root = chown(&database, Some(4_711), Some(4_712)).is_ok();
    let state = |file: &Path| {
        let metadata = file.metadata().expect("it is there");
        let owner = if is_root { (metadata.uid(), metadata.gid()) } else { (0, 0) };
        (metadata.mode() & 0o7777, owner)
    };
    let expected = state(&database);
    let copy = directory.path().join("copy");
    assert_eq!(run(&["backup", path(&directory), "--to", copy.to_str().expect("text")]).code, 0);
    assert_eq!(state(&copy.join(DATABASE)), expected, "backup");
    assert_eq!(fs::read_dir(&copy).expect("reads").count(), 1, "nothing else is left next to a backup");

    corrupt(directory.path());
    assert_eq!(run(&["repair", path(&directory)]).code, 1);
    assert_eq!(state(&database), expected, "repair");
}

/// The files of a service: a directory of another user than root, in one that this user can reach. `None`
/// unless root runs the tests.
#[cfg(target_os = "linux")]
fn of_a_service() -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let closed = closed();
    let parent = directory();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).expect("changes the mode");
    let service = parent.path().join("service");
    fs::rename(closed.path(), &service).expect("renames");
    let names: Vec<_> =
        fs::read_dir(&service).expect("reads").map(|entry| entry.expect("reads").path()).collect();
    let is_root =
        names.iter().chain([&service]).all(|path| chown(path, Some(SERVICE), Some(SERVICE)).is_ok());
    is_root.then_some((parent, service))
}

#[cfg(target_os = "linux")]
const SERVICE: u32 = 4_711;

/// The owner of the directory can put a link under any name in it, at any moment.
#[cfg(target_os = "linux")]
#[test]
fn c11_root_can_do_what_the_owner_of_the_directory_can() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let Some((parent, service)) = of_a_service() else { return };
    let (dir, database) = (service.to_str().expect("text"), service.join(DATABASE));
    corrupt(&service);
    let ran = run(&["repair", dir]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    for entry in fs::read_dir(&service).expect("reads") {
        let entry = entry.expect("reads");
        let metadata = entry.metadata().expect("it is there");
        assert_eq!((metadata.uid(), metadata.gid()), (SERVICE, SERVICE), "{entry:?}");
    }

    // A file of root's, as at the end of a link.
    let contents = fs::read(&database).expect("reads");
    chown(&database, Some(0), Some(0)).expect("root may");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).expect("changes the mode");
    for arguments in
        [&["inspect", dir][..], &["list", dir], &["export", dir], &["repair", dir], &["import", dir]]
    {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (6, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("denied"), "{}", ran.err);
    }
    assert_eq!(fs::read(&database).expect("reads"), contents);
    assert_eq!(database.metadata().expect("it is there").uid(), 0);

    chown(&database, Some(SERVICE), Some(SERVICE)).expect("root may");
    let (own, foreign) = (parent.path().join("backups"), service.join("copy"));
    fs::create_dir(&own).expect("creates");
    for to in [own, foreign] {
        let ran = run(&["backup", dir, "--to", to.to_str().expect("text")]);
        assert_eq!(ran.code, 0, "{to:?}: {}", ran.err);
        assert_eq!(to.join(DATABASE).metadata().expect("it is there").uid(), SERVICE, "{to:?}");
    }
}

/// A database of which nothing is left must not look like one that was empty.
#[test]
fn c11_a_repair_that_cannot_know_what_is_lost_says_so() {
    for size in [100, 8_192] {
        let directory = closed();
        let database = fs::OpenOptions::new().write(true).open(directory.path().join(DATABASE));
        database.and_then(|file| file.set_len(size)).expect("the file is cut");
        let ran = run(&["repair", path(&directory)]);
        assert_eq!(ran.code, 1, "{size}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("more may be lost"), "{size}: {}", ran.out);
    }
}

#[test]
fn c11_concurrent_backups_never_meet() {
    let (from, to) = (closed(), directory());
    let copy = to.path().join("copy");
    let codes: Vec<_> = std::thread::scope(|scope| {
        let backup = || run(&["backup", path(&from), "--to", copy.to_str().expect("text")]).code;
        let all: Vec<_> = (0..6).map(|_| scope.spawn(backup)).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 3].contains(code)), "{codes:?}");
    let names: Vec<_> =
        fs::read_dir(&copy).expect("reads").map(|entry| entry.expect("reads").file_name()).collect();
    assert_eq!(names, [DATABASE], "no unfinished backup is left");
    assert_eq!(run(&["verify", copy.to_str().expect("text"), "--definitions", "shape"]).code, 0);
}

/// A database with a shape whose texts attack a terminal.
fn hostile() -> tempfile::TempDir {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    let attack = "\u{1b}[2J\u{9b}31m\u{202e}\r\n\u{7}";
    let definition = Shape::new(TableName::new("public", format!("t{attack}")), Relation::new(16_500))
        .pk(["id"])
        .columns(["id"])
        .filter(format!("x = {attack}"));
    let shape = NewShape::of(Handle::new("hostile-1").expect("valid"), &definition);
    let record = std::sync::Arc::new(shape.record(Seq::new(1)));
    let changes = [Change::Add { record, state: SnapshotState::Complete }];
    store.apply(&Batch { changes: changes.into(), through: Seq::new(1) }).expect("applies");
    store.close().expect("closes");
    directory
}

#[test]
fn c11_no_output_has_a_character_that_a_terminal_obeys() {
    let directory = hostile();
    let dir = path(&directory);
    let attack = "\u{1b}]0;x\u{7}\u{9b}\u{202e}";
    for arguments in [
        &["list", dir][..],
        &["list", dir, "--json"],
        &["show", dir, "hostile-1"],
        &["show", dir, "hostile-1", "--json"],
        &["show", dir, attack],
        &["export", dir],
        &["orphans", dir],
        &["orphans", dir, "--json"],
        &["import", dir],
        &["inspect", attack],
        &["backup", dir, "--to", &format!("{dir}/{attack}")],
        // The texts of the parser of the command line.
        &[attack],
        &["list", dir, attack],
        &["list", dir, &format!("--{attack}")],
        &["list", dir, &format!("-{attack}")],
        &["list", dir, "--state", attack],
        &["list", dir, "--relation", attack],
        &["list", dir, "--limit", attack],
        &["list", dir, "--unread-for", attack],
        &["verify", dir, "--definitions", attack],
        &["completions", attack],
        &["inspect", dir, "--top", &format!("1\n{attack}shape-meta: all is well")],
    ] {
        let ran = run_with(arguments, &format!("{attack}\n{{\"{attack}\":1}}\n"));
        for text in [&ran.out, &ran.err] {
            let hostile = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!text.contains(hostile), "{arguments:?}: {text:?}");
        }
    }
    let json = run(&["show", dir, "hostile-1", "--json"]).out;
    let shape: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let definition = shape["definition"].as_str().expect("text");
    assert!(definition.contains('\u{202e}'), "JSON keeps the value: {definition:?}");
}

/// An argument cannot add a line to the text of an error.
#[test]
fn c11_an_argument_with_a_line_end_stays_on_one_line() {
    let ran = run(&["completions", "x\nshape-meta: all is well"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains(r"'x\nshape-meta: all is well'"), "{}", ran.err);
    assert!(!ran.err.lines().any(|line| line.starts_with("shape-meta")), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn c11_an_argument_that_is_not_utf_8_is_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let hostile = std::ffi::OsStr::from_bytes(b"\xff\x1b[2J");
    for arguments in [&[hostile][..], &["show".as_ref(), "/tmp".as_ref(), hostile]] {
        let ran = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("runs");
        assert_eq!(ran.status.code(), Some(2));
        assert!(!ran.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[cfg(unix)]
#[test]
fn closed_pipes_never_panic() {
    let directory = closed();
    for command in [
        &["completions", "bash"][..],
        &["man"],
        &["--help"],
        &["list", path(&directory)],
        &["export", path(&directory)],
        &["inspect", "/no/such/directory"],
    ] {
        // The reader of both outputs has gone before the command starts.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = Command::new(PROGRAM)
            .args(command)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("clones"))
            .stderr(writer)
            .status()
            .expect("starts");
        assert!(status.code().is_some_and(|code| code != 101), "{command:?}: {status}");
    }
}

#[test]
fn lines_that_are_not_utf_8_are_handled_one_by_one() {
    let directory = closed();
    let input = b"0001-1768476874000000\n\xff\xfe\n\nnot-there\n";
    let ran = run_bytes(&["orphans", path(&directory)], input);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("not UTF-8     line 2: \\xff\\xfe"), "{}", ran.out);
    assert!(ran.out.contains("orphan        not-there"), "{}", ran.out);
    assert!(
        ran.out.contains("orphans: 1, shapes with missing data: 19, lines that are not UTF-8: 1"),
        "{}",
        ran.out
    );

    let line = run(&["export", path(&directory)]).out.lines().next().expect("a line").to_owned();
    let into = self::directory();
    let input = [b"\xff\n", line.as_bytes(), b"\n\n{\xfe}\n"].concat();
    let ran = run_bytes(&["import", path(&into)], &input);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("line 1 skipped") && ran.err.contains("line 4 skipped"), "{}", ran.err);
    assert!(ran.out.contains("added: 1, skipped: 2"), "{}", ran.out);
    assert!(ran.out.contains("skipped as invalid: 0, not UTF-8: 2, refused: 0"), "{}", ran.out);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_input_fails_before_anything_is_read() {
    let directory = closed();
    // Reading a directory fails. A database that does not exist shows what was looked at first.
    let stdin = fs::File::open(directory.path()).expect("opens");
    let ran = Command::new(PROGRAM).args(["orphans", path(&directory)]).stdin(stdin).output().expect("runs");
    assert_eq!(ran.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("could not read the handles"));
}

#[test]
fn list_fits_the_width_and_shows_table_and_filter() {
    let directory = closed();
    let list = |columns: Option<&str>| {
        let mut command = Command::new(PROGRAM);
        command.args(["list", path(&directory)]).env_remove("COLUMNS").stdin(Stdio::null());
        if let Some(columns) = columns {
            command.env("COLUMNS", columns);
        }
        String::from_utf8(command.output().expect("runs").stdout).expect("UTF-8")
    };
    let wide = list(None);
    assert!(wide.lines().next().expect("a header").ends_with("table         filter"), "{wide}");
    assert!(wide.contains("public.todos") && wide.contains("owner = 2"), "{wide}");
    for columns in [40, 72, 80] {
        let narrow = list(Some(&columns.to_string()));
        assert_eq!(narrow.lines().count(), 21, "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= columns), "{narrow}");
    }
}

#[test]
fn a_table_without_its_schema_is_found() {
    let directory = closed();
    let count = |table| run(&["export", path(&directory), "--table", table]).out.lines().count();
    assert_eq!(
        [count("todos"), count("public.todos"), count("other.todos"), count("nothing")],
        [10, 10, 0, 0]
    );
}

#[test]
fn help_wraps_and_explain_begins_with_the_answer() {
    let help = Command::new(PROGRAM).arg("--help").env("COLUMNS", "80").output().expect("runs").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let directory = closed();
    let explained = run(&["explain", path(&directory)]).out;
    let first = explained.lines().next().expect("a line");
    assert!(first.starts_with("all ") && first.contains("statements use an index"), "{first}");
}

#[cfg(unix)]
#[test]
fn c11_a_link_to_the_database_file_is_refused() {
    let (directory, other) = (closed(), directory());
    let database = directory.path().join(DATABASE);
    std::os::unix::fs::symlink(&database, other.path().join(DATABASE)).expect("links");
    for command in ["inspect", "verify", "repair", "import"] {
        let ran = run(&[command, path(&other)]);
        assert!(
            ran.code == 3 && ran.err.contains("is a symbolic link"),
            "{command}: {} {}",
            ran.code,
            ran.err
        );
    }
    fs::remove_file(other.path().join(DATABASE)).expect("removes");
    fs::hard_link(&database, other.path().join(DATABASE)).expect("links");
    for (command, at) in
        [("inspect", &other), ("import", &other), ("inspect", &directory), ("repair", &directory)]
    {
        let ran = run(&[command, path(at)]);
        assert!(ran.code == 3 && ran.err.contains("has 2 names"), "{command}: {} {}", ran.code, ran.err);
    }
    fs::remove_file(other.path().join(DATABASE)).expect("removes");
    // A link to the directory is fine.
    let link = other.path().join("link");
    std::os::unix::fs::symlink(directory.path(), &link).expect("links");
    assert_eq!(run(&["verify", link.to_str().expect("text")]).code, 0);
}

#[cfg(unix)]
#[test]
fn c11_a_lock_file_that_is_a_link_or_a_pipe_is_refused() {
    let (directory, other) = (closed(), directory());
    let (lock, victim) = (directory.path().join("shape-meta.lock"), other.path().join("victim"));
    fs::write(&victim, "of another user").expect("writes");
    fs::remove_file(&lock).expect("removes");
    std::os::unix::fs::symlink(&victim, &lock).expect("links");
    let refused = |what: &str| {
        for command in [&["inspect"][..], &["verify"], &["export"], &["repair", "--force"], &["import"]] {
            let ran = run(&with_directory(command, path(&directory)));
            assert!(ran.code == 3 && ran.err.contains(what), "{command:?}: {} {}", ran.code, ran.err);
        }
    };
    refused("is a symbolic link");
    assert_eq!(fs::read(&victim).expect("reads"), b"of another user");
    fs::remove_file(&lock).expect("removes");
    assert!(Command::new("mkfifo").arg(&lock).status().expect("runs").success());
    refused("is not a regular file");
}

#[cfg(unix)]
#[test]
fn c11_a_path_over_the_limit_of_sqlite_is_a_configuration_error() {
    let directory = directory();
    let mut long = directory.path().to_owned();
    while long.as_os_str().len() < 520 {
        long.push("d".repeat(50));
    }
    fs::create_dir_all(&long).expect("creates");
    for command in ["inspect", "import"] {
        let ran = run(&[command, long.to_str().expect("text")]);
        assert!(
            ran.code == 3 && ran.err.contains("SQLite opens paths of up to"),
            "{command}: {} {}",
            ran.code,
            ran.err
        );
    }
}

/// Leaves a copy of the database that only a rollback makes readable.
#[cfg(unix)]
fn with_hot_journal(directory: &Path) {
    let mut journal = vec![0; 512];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    let pages =
        u32::try_from(fs::metadata(directory.join(DATABASE)).expect("there").len() / 4_096).expect("few");
    journal[16..20].copy_from_slice(&pages.to_be_bytes());
    journal[20..24].copy_from_slice(&512_u32.to_be_bytes());
    journal[24..28].copy_from_slice(&4_096_u32.to_be_bytes());
    fs::write(directory.join(format!("{DATABASE}-journal")), journal).expect("writes");
}

#[cfg(unix)]
#[test]
fn c11_a_private_copy_is_read_and_gone_after_every_command() {
    let (directory, temporary) = (closed(), directory());
    with_hot_journal(directory.path());
    let before = files(directory.path());
    for command in ["inspect", "list", "verify", "explain", "export", "orphans"] {
        let ran = Command::new(PROGRAM)
            .args([command, path(&directory)])
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        let expected = i32::from(command == "orphans");
        assert_eq!(ran.status.code(), Some(expected), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(fs::read_dir(temporary.path()).expect("reads").count(), 0, "{command} leaves its copy");
    }
    assert_eq!(files(directory.path()), before, "the journal is not rolled back in place");
}

#[cfg(target_os = "linux")]
#[test]
fn c11_a_signal_deletes_an_unfinished_backup() {
    let from = closed();
    // The copy of the database waits for a reader of a pipe: its progress cannot be waited for without one.
    let to = directory();
    let fifo = to.path().join("input");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("runs").success());
    with_hot_journal(from.path());
    // `orphans` makes a copy of the database, and then waits for its input.
    let temporary = directory();
    let mut child = Command::new(PROGRAM)
        .args(["orphans", path(&from), fifo.to_str().expect("text")])
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("starts");
    // Opening the other end waits until the command has opened its input.
    let mut input = fs::OpenOptions::new().write(true).open(&fifo).expect("opens");
    input.write_all(b"x\n").expect("writes");
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("runs");
    assert!(status.success());
    let status = child.wait().expect("ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status}");
    assert_eq!(fs::read_dir(temporary.path()).expect("reads").count(), 0);
}

/// A copy that was started by `nohup` outlasts its terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let directory = closed();
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", PROGRAM, "orphans", path(&directory)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let status = format!("/proc/{}/status", child.id());
    let catches_term = || {
        let status = fs::read_to_string(&status).expect("it runs");
        let bits = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
        u64::from_str_radix(bits.trim(), 16).expect("bits") & 1 << 14 != 0
    };
    while !catches_term() {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-HUP", &child.id().to_string()]).status().expect("runs");
    assert!(killed.success());
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("ends").code(), Some(1), "all shapes are without data");
}

/// Runs the command with its output on a disk that is always full.
#[cfg(target_os = "linux")]
fn run_on_full_disk(arguments: &[&str]) -> (Option<i32>, String) {
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = Command::new(PROGRAM).args(arguments).stdout(full).output();
    let output = output.expect("the command starts");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_no_success() {
    for arguments in [["--help"], ["--version"], ["help"]] {
        let (code, text) = run_on_full_disk(&arguments);
        assert_eq!(code, Some(6), "{arguments:?}: {text}");
        assert!(text.contains("could not write the output"), "{text}");
    }
    let (from, to) = (closed(), directory());
    let (code, text) = run_on_full_disk(&["backup", path(&from), "--to", path(&to)]);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("is complete)"), "{text}");
    assert_eq!(run(&["verify", path(&to)]).code, 0);
}

#[cfg(unix)]
#[test]
fn an_endless_line_is_refused_with_its_number() {
    let directory = closed();
    for command in ["orphans", "import"] {
        let script = format!(
            "{{ echo '{{}}'; head -c 100000000 /dev/zero | tr '\\0' x; }} | {} {command} {}",
            PROGRAM,
            path(&directory)
        );
        let output = Command::new("sh").args(["-c", &script]).output().expect("there is a shell");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(6), "{command}: {text}");
        assert!(text.contains("line 2 is longer than"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn c9_a_command_without_file_descriptors_says_so() {
    let directory = closed();
    for limit in 4..=6 {
        let script = format!("ulimit -n {limit}; exec {PROGRAM} list {}", path(&directory));
        let output = Command::new("sh").args(["-c", &script]).output().expect("there is a shell");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(6), "{limit}: {text}");
        assert!(text.contains("ulimit -n"), "{limit}: {text}");
    }
}
