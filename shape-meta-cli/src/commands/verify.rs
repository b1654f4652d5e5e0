use std::io::Write;

use serde_json::json;
use shape_meta_sqlite::Inspector;

use super::Outcome;
use crate::{
    args::{Database, Definitions},
    exit::Done,
    output,
};

/// More are counted, and not shown.
const SHOWN: usize = 1_000;

pub(super) fn run(database: &Database, definitions: Definitions, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let mut problems = Vec::new();
    let verified = inspector.verify(super::verifier(definitions).as_ref(), &mut |problem| {
        if problems.len() < SHOWN {
            problems.push(problem);
        }
    })?;
    inspector.finish()?;
    if database.json {
        let (shapes, found, unchecked) = (verified.shapes, verified.problems, verified.unchecked);
        output::json(
            out,
            &json!({"shapes": shapes, "problems": found, "unchecked_rows": unchecked, "first_problems": problems}),
        )?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
        }
        match verified.problems {
            0 => writeln!(out, "{} shapes, all sound", verified.shapes)?,
            1 => writeln!(out, "{} shapes, 1 problem", verified.shapes)?,
            problems => writeln!(out, "{} shapes, {problems} problems", verified.shapes)?,
        }
        if verified.unchecked > 0 {
            writeln!(out, "{} rows were written by version 1 and have no checksum", verified.unchecked)?;
        }
        if verified.problems > 0 {
            writeln!(out, "stop the owner, take a copy of the directory, and run `shape-meta repair`")?;
        }
    }
    Ok(if verified.problems == 0 { Done::Well } else { Done::Found })
}
