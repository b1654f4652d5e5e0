//! A process is killed right after 50,000 acknowledged adds. The store that this one follows kept 2,200 of
//! them: a crash lost the whole queue.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use shape_meta::{MutateShapesExt, NoopObserver, ReadShapes, SqliteStore, StoreControl};
use shape_meta_core::conformance::shape;

use shape_meta_harness::compositions::{PRODUCT, WAIT, directory, sqlite};

const ADDS: u64 = 50_000;
const DIRECTORY: &str = "SHAPE_META_QUEUE_DIRECTORY";

#[test]
#[ignore = "the child process of the test below; it does nothing on its own"]
fn adds() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let store = PRODUCT.open(Path::new(&directory));
    let mut durable = 0;
    for number in 1..=ADDS {
        let receipt = store.add(shape(number), WAIT).expect("it is new");
        durable += u64::from(receipt.is_durable());
    }
    let pending = store.pending();
    let oldest = pending.oldest.unwrap_or_default().as_millis();
    let mut out = stdout().lock();
    writeln!(out, "\nadded {} {oldest} {durable}", pending.mutations).expect("the parent reads");
    out.flush().expect("the parent reads");
    // The parent kills this process.
    loop {
        std::thread::park();
    }
}

#[test]
fn c6_c7_a_kill_after_50_000_adds_loses_only_the_flush_window() {
    let directory = directory();
    let mut child = Command::new(env::current_exe().expect("a test has a file"))
        .args(["crash::loss_window::adds", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be run again");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let added = lines.map(|line| line.expect("text")).find(|line| line.starts_with("added "));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let added = added.expect("it has added them");
    let numbers: Vec<u64> = added.split(' ').skip(1).map(|word| word.parse().expect("a number")).collect();
    let [pending, oldest, durable] = numbers[..] else { panic!("{added}") };

    let store = SqliteStore::open(directory.path(), sqlite(), Arc::new(NoopObserver)).expect("it opens");
    let left = store.counts().expect("it reads").total;
    eprintln!("{left} of {ADDS} are left; {pending} were pending, the oldest for {oldest} ms");
    assert!(
        left + pending >= ADDS,
        "C6: more adds are lost than were pending: {left} left, {pending} pending"
    );
    assert_eq!(store.last_seq().expect("it reads").get(), left, "C6: the remaining adds are the first ones");
    assert!(left >= durable, "C6: {durable} adds were durable, but {left} are left");
    assert!(left > 2_200, "batches are committed during the adds");
}
