//! Query plans: every look-up uses an index or a row id.

use shape_meta_sqlite::DiskIndexes;

use crate::support;

fn plans(disk_indexes: DiskIndexes, shapes: u64) -> Vec<shape_meta_sqlite::QueryPlan> {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().disk_indexes(disk_indexes));
    if shapes > 0 {
        support::fill(&store, 1..=shapes);
    }
    store.maintain().expect("maintains");
    store.query_plans().expect("the plans are readable")
}

fn lines(plans: &[shape_meta_sqlite::QueryPlan]) -> String {
    plans.iter().map(|plan| format!("{plan}\n")).collect()
}

#[test]
fn with_disk_indexes() {
    insta::assert_snapshot!(lines(&plans(DiskIndexes::Maintained, 0)));
}

#[test]
fn without_disk_indexes() {
    insta::assert_snapshot!(lines(&plans(DiskIndexes::Omitted, 0)));
}

#[test]
fn plans_do_not_change_as_tables_grow() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        assert_eq!(lines(&plans(disk_indexes, 3_000)), lines(&plans(disk_indexes, 0)));
    }
}

/// Only statements whose purpose is a full scan, or whose table is small, have one.
#[test]
fn only_expected_statements_scan_a_whole_table() {
    let full_scans = [
        "load",
        "count_handles",
        "count_keys",
        "count_relations",
        "incomplete",
        "count_cleanup_tasks",
        // Reads the first row.
        "lowest_cleanup_task",
        // One row of two subqueries, which read the first and the last one.
        "first_and_last",
        "saved_reads",
        // Small tables: SQLite scans a table that had a single row when its statistics were made.
        "changes_from",
        "trim_change_log",
        "openings",
        "trim_openings",
        "change_log_floor",
        "change_log_size",
        "change_log_backwards",
        "note_opening",
        "lineage",
        "trim_lineage",
    ];
    for plan in plans(DiskIndexes::Maintained, 0) {
        let scans = plan.steps.iter().any(|step| step.starts_with("SCAN"));
        assert_eq!(scans, full_scans.contains(&plan.name), "{plan}");
    }
}
