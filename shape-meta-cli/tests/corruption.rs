//! `verify`, `export` and `repair` on a damaged database.

use std::fs;

use shape_meta_sqlite::DiskIndexes;

use crate::support::{DATABASE, directory, fill, open, path, run, stable};

/// Changes a byte of a definition. The page stays well-formed, so SQLite finds nothing wrong.
fn corrupt(directory: &tempfile::TempDir) {
    let file = directory.path().join(DATABASE);
    let mut bytes = fs::read(&file).expect("reads");
    let at = bytes
        .windows(11)
        .position(|window| window == b"owner = 17\"")
        .expect("the definition is in the file");
    bytes[at + 8] = b'9';
    fs::write(&file, bytes).expect("writes");
}

#[test]
fn corruption_is_reported_and_repaired() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = directory();
        let store = open(directory.path(), disk_indexes);
        // The 17th definition in a row of its own: a batch shares rows.
        [1..=16, 17..=17, 18..=20].into_iter().for_each(|numbers| fill(&store, numbers));
        store.close().expect("closes");
        assert_eq!(run(&["verify", path(&directory)]).code, 0);
        corrupt(&directory);

        let verify = run(&["verify", path(&directory)]);
        assert_eq!(verify.code, 1, "verify reports the problem: {}", verify.err);
        insta::assert_snapshot!("verify", stable(&verify.out, &directory));
        let export = run(&["export", path(&directory)]);
        assert_eq!((export.code, export.out.lines().count()), (1, 19), "the sound shapes are exported");

        let repair = run(&["repair", path(&directory)]);
        assert_eq!(repair.code, 1, "one shape is lost: {}", repair.err);
        let out = repair
            .out
            .lines()
            .filter(|line| !line.contains("is quarantined as"))
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!("repair", out);
        assert_eq!(run(&["verify", path(&directory)]).code, 0);
        assert_eq!(run(&["export", path(&directory)]).out.lines().count(), 19);
        assert_eq!(run(&["repair", path(&directory), "--force"]).code, 0, "a second repair loses nothing");
        let inspect = run(&["inspect", path(&directory), "--json"]).out;
        let word = if disk_indexes == DiskIndexes::Maintained { "maintained" } else { "omitted" };
        let expected = format!(r#""disk_indexes":"{word}""#);
        assert!(inspect.contains(&expected), "the repair keeps the disk indexes: {inspect}");
    }
}

/// Bytes of the magic, the schema version and the application id, and the whole first page: the rest is ours,
/// so no command takes the file for a foreign one, and `repair` carries all shapes over.
#[test]
fn c11_a_damaged_header_is_repaired_by_the_command() {
    for damaged in [3..4, 62..63, 70..71, 0..4096] {
        let directory = directory();
        let store = open(directory.path(), DiskIndexes::Maintained);
        fill(&store, 1..=20);
        store.close().expect("closes");
        let file = directory.path().join(DATABASE);
        let mut bytes = fs::read(&file).expect("reads");
        bytes[damaged.clone()].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&file, &bytes).expect("writes");

        let verify = run(&["verify", path(&directory)]);
        assert_eq!(verify.code, 5, "{damaged:?}: {}", verify.err);
        assert!(verify.err.contains("`repair` carries all sound rows"), "{damaged:?}: {}", verify.err);
        assert!(fs::read(&file).expect("reads") == bytes, "{damaged:?}: the file stays unchanged");
        let repair = run(&["repair", path(&directory)]);
        assert_eq!(repair.code, 0, "{damaged:?}: {}{}", repair.out, repair.err);
        assert_eq!(run(&["verify", path(&directory)]).code, 0, "{damaged:?}");
        assert_eq!(run(&["export", path(&directory)]).out.lines().count(), 20, "{damaged:?}");
    }
}
