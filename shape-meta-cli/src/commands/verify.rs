use std::io::Write;

use serde_json::json;
use shape_meta_sqlite::Inspector;

use super::Outcome;
use crate::{
    args::{Database, Definitions},
    exit::Success,
    output,
};

/// Limit on the problems that are printed. All are counted.
const PRINTED: usize = 1_000;

pub(super) fn run(database: &Database, definitions: Definitions, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let mut problems = Vec::new();
    let verified = inspector.verify(super::verifier(definitions).as_ref(), &mut |problem| {
        if problems.len() < PRINTED {
            problems.push(problem);
        }
    })?;
    inspector.finish()?;
    if database.json {
        let (shapes, found, without_checksum) =
            (verified.shapes, verified.problems, verified.rows_without_checksum);
        output::json(
            out,
            &json!({"shapes": shapes, "problems": found, "rows_without_checksum": without_checksum, "first_problems": problems}),
        )?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
        }
        match verified.problems {
            0 => writeln!(out, "{} shapes verified, no problems", verified.shapes)?,
            1 => writeln!(out, "{} shapes verified, 1 problem", verified.shapes)?,
            problems => writeln!(out, "{} shapes verified, {problems} problems", verified.shapes)?,
        }
        if verified.rows_without_checksum > 0 {
            let rows = verified.rows_without_checksum;
            writeln!(out, "{rows} rows have no checksum: schema version 1 wrote them")?;
        }
        if verified.problems > 0 {
            writeln!(out, "stop the owner, copy the directory, and run `shape-meta repair`")?;
        }
    }
    Ok(if verified.problems == 0 { Success::Clean } else { Success::Findings })
}
