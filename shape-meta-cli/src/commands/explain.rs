use std::io::Write;

use serde_json::json;
use shape_meta_sqlite::{Inspector, QueryPlan};

use super::Outcome;
use crate::{args::Directory, exit::Success, output};

/// Statements whose purpose is to read a whole table, or its first row only.
const FULL_SCANS: [&str; 9] = [
    "load",
    "count_cleanup_tasks",
    "lowest_cleanup_task",
    "count_handles",
    "count_keys",
    "count_relations",
    "scan",
    "found_at_open",
    "saved_reads",
];
/// Plan steps that scan a table whose size does not grow with the number of shapes. The last one has the
/// cleanup tasks of earlier schema versions.
const SMALL_SCANS: [&str; 5] =
    ["SCAN change_log", "SCAN opening", "SCAN lineage", "SCAN CONSTANT ROW", "SCAN main.to_clean"];

pub(super) fn run(database: &Directory, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let plans = inspector.query_plans()?;
    inspector.finish()?;
    let has_full_scan = |plan: &QueryPlan| {
        // A scan of what the statement itself has made of a table is no other scan of the table.
        let is_made =
            |what: &str| plan.steps.iter().any(|step| step.strip_prefix("CO-ROUTINE ") == Some(what));
        let is_full_scan = |step: &String| {
            step.strip_prefix("SCAN ").is_some_and(|what| !is_made(what))
                && !SMALL_SCANS.contains(&step.as_str())
        };
        plan.steps.iter().any(is_full_scan) && !FULL_SCANS.contains(&plan.name)
    };
    if database.json {
        let all: Vec<_> = plans
            .iter()
            .map(|plan| {
                let full_scan = has_full_scan(plan);
                json!({"name": plan.name, "sql": plan.sql, "steps": plan.steps, "full_scan": full_scan})
            })
            .collect();
        output::json(out, &all)?;
    } else {
        let scanning = plans.iter().filter(|plan| has_full_scan(plan)).count();
        match scanning {
            0 => writeln!(
                out,
                "all {} statements use an index, or are meant to read a whole table",
                plans.len()
            )?,
            _ => writeln!(out, "{scanning} of {} statements do not use an index", plans.len())?,
        }
        for plan in plans.iter().filter(|plan| !plan.steps.is_empty()) {
            let mark = if has_full_scan(plan) { "  <- full scan of a table" } else { "" };
            writeln!(out, "{plan}{mark}")?;
        }
    }
    Ok(if plans.iter().any(has_full_scan) { Success::Findings } else { Success::Clean })
}
