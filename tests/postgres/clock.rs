//! Another process, whose system clock is wrong and jumps, owns a stack. Its lease does not depend on that,
//! and the times that it has stored count as now where they are in the future (C1, C11).
//!
//! The process is this test binary. A library that is loaded before the others shifts its system clock, by
//! the seconds in a file that is read at each look at the clock. Its other clocks run on, as when an
//! administrator sets the system clock.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use shape_meta::{
    BufferOptions, Evictor, EvictorOptions, Metadata, MutateShapesExt, NewShape, ReadShapes, ReadShapesExt,
    ShapeMeta, Standby, StoreControl, Timestamp,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{PRODUCT, TIMEOUT, WAIT};
use shape_meta_testing_postgres::{self as server, Cluster, wait_until};
use tempfile::TempDir;

use super::support::{LEASE, Schema};

const NAME: &str = "postgres::clock::works";
const CONNECTION: &str = "SHAPE_META_CLOCK_CONNECTION";
const SCHEMA: &str = "SHAPE_META_CLOCK_SCHEMA";
const HOUR: i64 = 3_600;
/// Much less than an hour, and more than a busy machine is late.
const SOON: Duration = Duration::from_secs(600);

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = (int)syscall(SYS_clock_gettime, clock, at);
    const char *path = getenv("SHAPE_META_CLOCK_FILE");
    if (result == 0 && clock == CLOCK_REALTIME && path != 0) {
        char seconds[32] = {0};
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, seconds, sizeof seconds - 1) > 0) at->tv_sec += atol(seconds);
            close(file);
        }
    }
    return result;
}
"#;

/// An owner in another process. It is killed when its test ends.
struct Owner {
    directory: TempDir,
    child: Child,
    out: BufReader<ChildStdout>,
    to: ChildStdin,
}

impl Owner {
    /// Starts an owner whose clock is wrong by this number of seconds.
    fn start(schema: &Schema, seconds: i64) -> Self {
        let directory = tempfile::tempdir().expect("it is created");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("clock.c"), LIBRARY).expect("it is written");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(at("clock.so")).arg(at("clock.c"));
        let compiled = compiler.status().expect("SQLite needs a compiler, too");
        assert!(compiled.success());
        fs::write(at("seconds"), seconds.to_string()).expect("it is written");
        let mut child = Command::new(env::current_exe().expect("a test has a file"))
            .args([NAME, "--exact", "--ignored", "--nocapture"])
            .env(CONNECTION, schema.connection())
            .env(SCHEMA, schema.name())
            .env("SHAPE_META_CLOCK_FILE", at("seconds"))
            .env("LD_PRELOAD", at("clock.so"))
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a test can be run again");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let to = child.stdin.take().expect("it is piped");
        let mut owner = Self { directory, child, out, to };
        owner.wait_for("open");
        owner.assert_clock(seconds);
        owner
    }

    /// Makes its clock jump.
    fn set_clock(&mut self, seconds: i64) {
        let (path, next) = (self.directory.path().join("seconds"), self.directory.path().join("next"));
        fs::write(&next, seconds.to_string()).expect("it is written");
        fs::rename(next, path).expect("it is renamed");
        self.assert_clock(seconds);
    }

    /// Checks that the clock of that process is wrong by this number of seconds, as it sees it.
    fn assert_clock(&mut self, seconds: i64) {
        let theirs: i64 = self.ask("clock").parse().expect("a number");
        let ours = Timestamp::now().as_micros().cast_signed();
        let wrong = (theirs - ours) / 1_000_000;
        assert!(wrong.abs_diff(seconds) < SOON.as_secs(), "the clock is wrong by {wrong} seconds");
    }

    /// Adds, completes and reads shapes with these numbers, durably.
    fn work(&mut self, numbers: std::ops::RangeInclusive<u64>) {
        let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
        assert_eq!(self.ask(&format!("work {}", numbers.join(" "))), "ready");
    }

    /// Returns the answer to a request.
    fn ask(&mut self, request: &str) -> String {
        writeln!(self.to, "{request}").expect("the child reads");
        self.wait_for("answer ")
    }

    /// Reads until a line that begins with this text, and returns the rest of it.
    fn wait_for(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            self.out.read_line(&mut line).expect("it writes text");
            assert!(!line.is_empty(), "the child has ended without {wanted:?}");
            if let Some(rest) = line.trim_end().strip_prefix(wanted) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the child process of the other tests; it does nothing on its own"]
fn works() {
    let (Ok(connection), Ok(schema)) = (env::var(CONNECTION), env::var(SCHEMA)) else { return };
    let schema = Schema::named(&connection, schema);
    let pool = schema.another_pool();
    let buffer = BufferOptions::default().last_read_save_interval(Duration::from_millis(1));
    let builder = PRODUCT.builder().buffered(buffer).postgres(schema.options());
    let store = builder.open_postgres(&pool, "stack").expect("it is free");
    let say = |line: &str| {
        let mut out = stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).expect("the parent reads");
    };
    say("\nopen");
    for line in stdin().lines() {
        let line = line.expect("the parent writes text");
        if let Some(numbers) = line.strip_prefix("work ") {
            for number in numbers.split(' ').map(|number| number.parse().expect("a number")) {
                let new = NewShape { created_at: None, ..shape(number) };
                store.add(new, WAIT).expect("the lease lasts");
                store.mark_snapshot_complete(&handle(number), WAIT).expect("the lease lasts");
                assert!(store.touch_now(&handle(number)).expect("reads"));
            }
            store.flush(TIMEOUT).expect("nothing fails");
            say(&format!("answer {}", store.health().state.name()));
        } else {
            say(&format!("answer {}", Timestamp::now().as_micros()));
        }
    }
}

/// Returns the number of saved last reads that are later than now by more than this many seconds.
fn saved_after(cluster: &Cluster, schema: &Schema, seconds: i64) -> u64 {
    let limit = Timestamp::now().as_micros().cast_signed() + seconds * 1_000_000;
    let query = format!("SELECT count(*) FROM \"{}\".last_read WHERE at > {limit}", schema.name());
    cluster.query(&query).expect("it runs").parse().expect("a number")
}

fn metadata(store: &impl ReadShapes, number: u64) -> Metadata {
    store.metadata(&handle(number)).expect("reads").expect("it is live")
}

fn last_read(store: &impl ReadShapes, number: u64) -> Timestamp {
    metadata(store, number).last_read.expect("it was read")
}

fn oldest(store: &ShapeMeta, n: usize) -> Vec<shape_meta::Handle> {
    store.lru(n).expect("reads").shapes.into_iter().map(|(handle, _)| handle).collect()
}

/// Kills the owner, and returns the store that takes over when the lease ends by the clock of the server.
fn take_over(owner: Owner, standby: &Standby) -> ShapeMeta {
    drop(owner);
    standby.wait_promoted(TIMEOUT).expect("the lease ends by the clock of the server")
}

#[test]
fn c1_c11_jumps_of_a_clock_change_no_lease_and_the_future_is_now() {
    let Some(cluster) = server::own(&[]) else { return };
    let schema = Schema::of(&cluster.connection());
    let mut owner = Owner::start(&schema, HOUR);
    owner.work(1..=4);
    wait_until("the last reads are saved", || saved_after(&cluster, &schema, HOUR / 2) == 4);
    let pool = schema.another_pool();
    let standby = schema.standby_on(&pool, PRODUCT.builder(), "stack");
    standby.promote_when_free();
    assert!(last_read(&standby, 1) <= Timestamp::now(), "it counts as now");
    // A jump back ends no lease too late, and one forward none too early.
    for (number, seconds) in [(5, -HOUR), (6, 5 * HOUR), (7, HOUR)] {
        owner.set_clock(seconds);
        owner.work(number..=number);
        assert!(standby.wait_promoted(LEASE + LEASE / 2).is_none(), "the owner is alive");
        owner.work(10 * number..=10 * number);
    }
    wait_until("the last reads are saved", || saved_after(&cluster, &schema, HOUR / 2) >= 8);
    let store = take_over(owner, &standby);
    for number in 1..=7 {
        assert!(last_read(&store, number) <= Timestamp::now(), "{number}");
    }
    // The time of creation is what the owner said, and no age is negative.
    let created = metadata(&store, 1).created_at.expect("it is known");
    assert!(created > Timestamp::now() && created.age_at(Timestamp::now()).is_zero());
    // What was read an hour from now is no more in use than other shapes.
    let since = Timestamp::now();
    assert!(store.touch_now(&handle(1)).expect("reads"));
    let read = last_read(&store, 1);
    assert!((since..=Timestamp::now()).contains(&read), "a read now counts");
    assert_eq!(oldest(&store, 10).last(), Some(&handle(1)), "of all ten");
    assert!(store.remove_if_unread_since(&handle(1), since, WAIT).expect("it runs").is_none());
    assert!(store.remove_if_unread_since(&handle(2), since, WAIT).expect("it runs").is_some());
    let options = EvictorOptions::default().max_shapes(2).low_water(1).min_unread(Duration::ZERO);
    let evicted = Evictor::new(options).step(&store).removed;
    assert!(evicted.len() == 8 && !evicted.contains(&handle(1)), "{evicted:?}");
    store.flush(TIMEOUT).expect("nothing fails");
}

/// A clock that is behind makes reads look older, by as much, until the next read.
#[test]
fn c1_c11_reads_by_a_clock_that_was_behind_are_older_by_as_much() {
    let Some(cluster) = server::own(&[]) else { return };
    let schema = Schema::of(&cluster.connection());
    let mut owner = Owner::start(&schema, -HOUR);
    owner.work(1..=3);
    let pool = schema.another_pool();
    let standby = schema.standby_on(&pool, PRODUCT.builder(), "stack");
    standby.promote_when_free();
    wait_until("the last reads are saved", || saved_after(&cluster, &schema, -2 * HOUR) == 3);
    assert!(standby.wait_promoted(LEASE + LEASE / 2).is_none(), "the owner is alive");
    owner.work(4..=4);
    wait_until("the last reads are saved", || saved_after(&cluster, &schema, -2 * HOUR) == 4);
    let store = take_over(owner, &standby);
    let half = Duration::from_secs(1_800);
    for number in 1..=4 {
        assert!(last_read(&store, number).age_at(Timestamp::now()) > half, "{number}");
    }
    assert!(store.touch_now(&handle(2)).expect("reads"));
    assert!(last_read(&store, 2).age_at(Timestamp::now()) < half);
    assert_eq!(oldest(&store, 4).last(), Some(&handle(2)));
    let evictor = Evictor::new(EvictorOptions::default().max_unread(half));
    assert_eq!(evictor.step(&store).removed, [1, 3, 4].map(handle));
}
