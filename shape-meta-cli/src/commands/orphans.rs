use std::{
    io::{BufRead, Write},
    path::Path,
};

use serde_json::json;
use shape_meta_sqlite::Inspector;

use super::Outcome;
use crate::{
    args::Database,
    exit::{Failure, Success},
    output,
};

pub(super) fn run(database: &Database, file: Option<&Path>, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let mut failure = None;
    let mut stored = super::input(file)?.lines();
    let handles = std::iter::from_fn(|| match stored.next()? {
        Ok(line) => Some(line),
        Err(error) => {
            failure = Some(Failure::Io("read the handles".into(), error));
            None
        }
    });
    let handles = handles.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
    let mut orphans = Vec::new();
    let missing = inspector.orphans(handles, |orphan| orphans.push(orphan))?;
    // With part of the list, shapes would be reported as missing data that they have.
    if let Some(failure) = failure {
        return Err(failure);
    }
    inspector.finish()?;
    if database.json {
        let missing: Vec<_> = missing.iter().map(|handle| handle.as_str()).collect();
        output::json(out, &json!({"orphans": orphans, "missing_data": missing}))?;
    } else {
        for orphan in &orphans {
            writeln!(out, "orphan        {orphan}")?;
        }
        for handle in &missing {
            writeln!(out, "missing data  {handle}")?;
        }
        writeln!(out, "orphans: {}, shapes with missing data: {}", orphans.len(), missing.len())?;
    }
    Ok(if orphans.is_empty() && missing.is_empty() { Success::Clean } else { Success::Findings })
}
