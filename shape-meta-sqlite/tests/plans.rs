//! Query plans: every look-up uses an index or a row id.

use shape_meta_sqlite::DiskIndexes;

use crate::support;

fn plans(disk_indexes: DiskIndexes, shapes: u64) -> Vec<shape_meta_sqlite::QueryPlan> {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().disk_indexes(disk_indexes));
    if shapes > 0 {
        support::fill(&store, 1..=shapes);
    }
    store.maintain().expect("nothing fails");
    store.query_plans().expect("nothing fails")
}

fn lines(plans: &[shape_meta_sqlite::QueryPlan]) -> String {
    plans.iter().map(|plan| format!("{plan}\n")).collect()
}

#[test]
fn are_these_with_look_ups() {
    insta::assert_snapshot!(lines(&plans(DiskIndexes::Maintained, 0)));
}

#[test]
fn are_these_without_look_ups() {
    insta::assert_snapshot!(lines(&plans(DiskIndexes::Omitted, 0)));
}

#[test]
fn do_not_change_as_the_tables_fill() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        assert_eq!(lines(&plans(disk_indexes, 3_000)), lines(&plans(disk_indexes, 0)));
    }
}

/// Reading everything is what these are for; nothing else may.
#[test]
fn only_those_that_want_everything_read_everything() {
    let everything = [
        "load",
        "incomplete",
        "to_clean",
        "saved_reads",
        // Small tables: of a table that has a single row when its statistics are made, SQLite reads all.
        "changes_from",
        "trim_change_log",
        "openings",
        "trim_openings",
        "change_log_floor",
        "change_log_size",
        "change_log_backwards",
        "note_opening",
    ];
    for plan in plans(DiskIndexes::Maintained, 0) {
        let scans = plan.steps.iter().any(|step| step.starts_with("SCAN"));
        assert_eq!(scans, everything.contains(&plan.name), "{plan}");
    }
}
