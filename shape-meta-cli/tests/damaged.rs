//! Verifying and repairing what is damaged.

use std::fs;

use shape_meta_sqlite::DiskIndexes;

use crate::support::{DATABASE, directory, fill, open, path, run, stable};

/// Changes what stands in a definition, somewhere on a page of which SQLite finds nothing wrong.
fn damage(directory: &tempfile::TempDir) {
    let file = directory.path().join(DATABASE);
    let mut bytes = fs::read(&file).expect("reads");
    let at = bytes.windows(11).position(|window| window == b"owner = 17\"").expect("it is there");
    bytes[at + 8] = b'9';
    fs::write(&file, bytes).expect("writes");
}

#[test]
fn damage_is_told_and_repaired() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = directory();
        let store = open(directory.path(), disk_indexes);
        fill(&store, 1..=20);
        store.close().expect("closes");
        assert_eq!(run(&["verify", path(&directory)]).code, 0);
        damage(&directory);

        let verified = run(&["verify", path(&directory)]);
        assert_eq!(verified.code, 1);
        insta::assert_snapshot!("verified", stable(&verified.out, &directory));
        let exported = run(&["export", path(&directory)]);
        assert_eq!((exported.code, exported.out.lines().count()), (1, 19), "the others are shown");

        let repaired = run(&["repair", path(&directory)]);
        assert_eq!(repaired.code, 1, "one was lost: {}", repaired.err);
        let out =
            repaired.out.lines().filter(|line| !line.contains("is kept as")).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!("repaired", out);
        assert_eq!(run(&["verify", path(&directory)]).code, 0);
        assert_eq!(run(&["export", path(&directory)]).out.lines().count(), 19);
        assert_eq!(run(&["repair", path(&directory)]).code, 0, "nothing more is lost");
        let inspected = run(&["inspect", path(&directory), "--json"]).out;
        let kept = format!(r#""disk_indexes":{}"#, disk_indexes == DiskIndexes::Maintained);
        assert!(inspected.contains(&kept), "the look-ups are what they were: {inspected}");
    }
}
