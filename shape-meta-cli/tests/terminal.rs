//! The command on a terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Command, ExitStatus, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{self, OpenptFlags},
    termios::{self, Winsize},
};
use shape_meta_sqlite::DiskIndexes;

use crate::support::{directory, fill, open, path};

/// Runs the command on a terminal of this width, in which `typed` is typed. Returns what the terminal shows.
fn on_terminal(arguments: &[&str], typed: &str, columns: u16) -> (ExitStatus, String) {
    let terminal = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    pty::grantpt(&terminal).expect("it is ours");
    pty::unlockpt(&terminal).expect("it is ours");
    let name = pty::ptsname(&terminal, Vec::new()).expect("it has a name");
    let end: OwnedFd =
        rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it opens");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    termios::tcsetwinsize(&terminal, size).expect("it is a terminal");
    let mut terminal = File::from(terminal);
    // Kept by the terminal until the command reads it.
    terminal.write_all(typed.as_bytes()).expect("there is room");
    let copy = || Stdio::from(end.try_clone().expect("it is open"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_shape-meta"));
    command.args(arguments).env_remove("COLUMNS").stdin(copy()).stdout(copy()).stderr(copy());
    let mut child = command.spawn().expect("the command starts");
    drop((command, end));
    let mut shown = Vec::new();
    // It ends with an error when the last end is closed.
    let _ = terminal.read_to_end(&mut shown);
    let status = child.wait().expect("the command exits");
    (status, String::from_utf8(shown).expect("UTF-8"))
}

/// The end of an input that is typed.
const CTRL_D: &str = "\u{4}";

#[test]
fn commands_say_on_a_terminal_that_they_wait_for_input() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=3);
    store.close().expect("closes");
    let (status, shown) = on_terminal(&["orphans", path(&directory)], &format!("not-there\n{CTRL_D}"), 80);
    let waiting = "shape-meta: waiting for handles, one a line, on standard input; end it with Ctrl-D\r\n";
    assert!(shown.contains(waiting), "{shown}");
    assert!(shown.contains("orphans: 1, shapes with missing data: 3"), "{shown}");
    assert_eq!(status.code(), Some(1));

    let (status, shown) = on_terminal(&["import", path(&directory)], CTRL_D, 80);
    assert!(shown.contains("shape-meta: waiting for shapes in JSON, one a line"), "{shown}");
    assert!(shown.contains("added: 0, skipped: 0"), "{shown}");
    assert_eq!(status.code(), Some(0));

    let input = directory.path().join("input");
    std::fs::write(&input, "").expect("writes");
    let (_, shown) = on_terminal(&["orphans", path(&directory), input.to_str().expect("text")], "", 80);
    assert!(!shown.contains("waiting"), "a file is not waited for: {shown}");
}

#[test]
fn list_fits_the_width_of_the_terminal() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=12);
    for columns in [40, 60] {
        let (_, shown) = on_terminal(&["list", path(&directory)], "", columns);
        assert_eq!(shown.lines().count(), 13, "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= usize::from(columns)), "{shown}");
    }
    drop(store);
}

/// The progress bar of a backup, and the texts of the parser, which are coloured.
#[test]
fn c11_a_terminal_shows_no_character_of_an_argument() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=3);
    store.close().expect("closes");
    let attack = "\u{1b}]0;owned\u{7}";
    let to = format!("{}/{attack}", path(&directory));
    for arguments in
        [&["backup", path(&directory), "--to", &to][..], &["completions", attack], &["inspect", attack]]
    {
        let (_, shown) = on_terminal(arguments, "", 80);
        assert!(!shown.contains("\u{1b}]0;") && !shown.contains('\u{7}'), "{arguments:?}: {shown:?}");
        assert!(shown.contains(r"\u{1b}]0;owned"), "{arguments:?}: {shown:?}");
    }
}
