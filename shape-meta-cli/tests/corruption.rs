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
        fill(&store, 1..=20);
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
