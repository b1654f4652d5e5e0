//! What a commit costs in addition to SQLite: the looks at its files (C13), and the line of the lock file
//! (C12).
//!
//! `cargo bench -p shape-meta-bench-criterion --bench commits`

use std::{
    fs::{self, OpenOptions},
    hint::black_box,
    io::{Seek, SeekFrom, Write},
    sync::Arc,
    time::Instant,
};

use shape_meta_core::{
    Batch, Change, NoopObserver, Seq, ShapeStore, SnapshotState,
    conformance::{shape, store::record},
};
use shape_meta_sqlite::{Durability, SqliteOptions, SqliteStore};

const ROUNDS: usize = 31;
const CALLS: u64 = 1_000;
/// The looks at a file for each commit: before and after it, at the database and at its WAL.
const LOOKS: f64 = 4.0;
/// The length of the line, and where it begins.
const LINE: [u8; 138] = [b'x'; 138];
const OFFSET: u64 = 21;

/// Returns the lowest and the middle time of a call, in microseconds.
fn micros(mut call: impl FnMut(u64)) -> (f64, f64) {
    let mut number = 0;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..CALLS {
                number += 1;
                call(number);
            }
            begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[ROUNDS / 2])
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = SqliteOptions::default().durability(Durability::ProcessCrash);
    let store = SqliteStore::open(directory.path(), options, Arc::new(NoopObserver)).expect("it opens");
    let commit = micros(|number| {
        let record = record(&shape(number), number);
        let changes = vec![Change::Add { record, state: SnapshotState::Pending }];
        store.apply(&Batch { changes, through: Seq::new(number) }).expect("the disk works");
    });
    let database = directory.path().join("shape-meta.sqlite3");
    let look = micros(|_| {
        black_box(fs::metadata(&database).expect("it is there"));
    });
    let lock = directory.path().join("line");
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(lock).expect("it opens");
    let line = micros(|_| {
        let written = file.seek(SeekFrom::Start(OFFSET)).and_then(|_| file.write_all(&LINE));
        written.expect("the disk works");
    });
    let print = |what: &str, (lowest, middle): (f64, f64)| {
        println!("{what:40} {lowest:7.2} us, median {middle:7.2} us");
    };
    print("a commit of one add, without a sync", commit);
    print("of that, the looks at the files", (look.0 * LOOKS, look.1 * LOOKS));
    print("of that, the line of the lock file", line);
}
