use std::io::Write;

use serde_json::json;

use super::Outcome;
use crate::{
    args::{Database, Definitions},
    database::{Opened, Place},
    exit::Success,
    output,
};

/// Limit on the problems that are printed. All are counted.
const PRINTED: usize = 1_000;

pub(super) fn run(database: &Database, definitions: Definitions, out: &mut dyn Write) -> Outcome {
    let place = database.place()?;
    let inspector = Opened::open(&place)?;
    let mut problems = Vec::new();
    let report = inspector.verify(super::verifier(definitions).as_ref(), &mut |problem| {
        if problems.len() < PRINTED {
            problems.push(problem);
        }
    })?;
    inspector.finish()?;
    if database.json {
        output::json(
            out,
            &json!({
                "shapes": report.shapes,
                "problems": report.problems,
                "rows_without_checksum": report.rows_without_checksum,
                "first_problems": problems,
            }),
        )?;
    } else {
        for problem in &problems {
            writeln!(out, "{}", output::safe(problem))?;
        }
        match report.problems {
            0 => writeln!(out, "{} shapes verified, no problems", report.shapes)?,
            1 => writeln!(out, "{} shapes verified, 1 problem", report.shapes)?,
            problems => writeln!(out, "{} shapes verified, {problems} problems", report.shapes)?,
        }
        if report.rows_without_checksum > 0 {
            let rows = report.rows_without_checksum;
            writeln!(out, "rows without checksum: {rows}; schema version 1 wrote them")?;
        }
        if report.problems > 0 {
            let advice = match place {
                Place::Directory(_) => "stop the owner, copy the directory, and run `shape-meta repair`",
                #[cfg(feature = "postgres")]
                Place::Stack(_) => {
                    "restore the tables from a backup, or export the sound shapes and import them to another stack"
                }
            };
            writeln!(out, "{advice}")?;
        }
    }
    Ok(if report.problems == 0 { Success::Clean } else { Success::Findings })
}
