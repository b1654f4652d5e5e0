use std::io::Write;

use serde_json::json;
use shape_meta_sqlite::{Inspector, QueryPlan};

use super::Outcome;
use crate::{args::Database, exit::Done, output};

/// Statements that are there to read a whole table.
const READ_ALL: [&str; 5] = ["load", "to_clean", "scan", "found_at_open", "saved_reads"];
/// Tables that stay small however many shapes there are: reading all of them is no loss.
const SMALL: [&str; 3] = ["SCAN change_log", "SCAN opening", "SCAN CONSTANT ROW"];

pub(super) fn run(database: &Database, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let plans = inspector.query_plans()?;
    inspector.finish()?;
    let slow = |plan: &QueryPlan| {
        let reads_all = |step: &String| step.starts_with("SCAN") && !SMALL.contains(&step.as_str());
        plan.steps.iter().any(reads_all) && !READ_ALL.contains(&plan.name)
    };
    if database.json {
        let all: Vec<_> = plans
            .iter()
            .map(|plan| json!({"name": plan.name, "sql": plan.sql, "steps": plan.steps, "slow": slow(plan)}))
            .collect();
        output::json(out, &all)?;
    } else {
        for plan in plans.iter().filter(|plan| !plan.steps.is_empty()) {
            let mark = if slow(plan) { "  <- reads the whole table" } else { "" };
            writeln!(out, "{plan}{mark}")?;
        }
    }
    Ok(if plans.iter().any(slow) { Done::Found } else { Done::Well })
}
