use std::{
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::json;
use shape_meta_core::{Error, ErrorKind};

use super::{Line, Outcome};
use crate::{
    args::Database,
    database::Opened,
    exit::{Failure, Success},
    output,
};

pub(super) fn run(database: &Database, file: Option<PathBuf>, out: &mut dyn Write) -> Outcome {
    let (place, file) = database.place_and(file.map(PathBuf::into_os_string))?;
    let inspector = Opened::open(&place)?;
    let mut unreadable = Vec::new();
    let mut failure = None;
    let mut lines = super::lines(super::input(file.as_deref().map(Path::new), "handles")?);
    let handles = std::iter::from_fn(|| {
        loop {
            match lines.next()? {
                Ok(Line { number, bytes }) => match String::from_utf8(bytes) {
                    Ok(handle) => return Some(Ok(handle)),
                    // No handle is like that, and no text names it. Its number does.
                    Err(error) => unreadable.push((number, error.into_bytes())),
                },
                Err(error) => {
                    failure = Some(error);
                    // With part of the list, shapes would be reported as missing data that they have.
                    return Some(Err(Error::new(ErrorKind::Io, "could not read the handles")));
                }
            }
        }
    });
    let mut orphans = Vec::new();
    let missing = inspector.orphans(handles, |orphan| orphans.push(orphan));
    if let Some(failure) = failure {
        return Err(Failure::Io("read the handles".into(), failure));
    }
    let missing = missing?;
    inspector.finish()?;
    if database.json {
        let missing: Vec<_> = missing.iter().map(|handle| handle.as_str()).collect();
        let unreadable: Vec<_> = unreadable
            .iter()
            .map(|(line, bytes)| json!({"line": line, "bytes": bytes.escape_ascii().to_string()}))
            .collect();
        output::json(out, &json!({"orphans": orphans, "missing_data": missing, "not_utf8": unreadable}))?;
    } else {
        for orphan in &orphans {
            writeln!(out, "orphan        {}", output::safe(orphan))?;
        }
        for (line, bytes) in &unreadable {
            writeln!(out, "not UTF-8     line {line}: {}", bytes.escape_ascii())?;
        }
        for handle in &missing {
            writeln!(out, "missing data  {}", output::safe(handle.as_str()))?;
        }
        write!(out, "orphans: {}, shapes with missing data: {}", orphans.len(), missing.len())?;
        match unreadable.len() {
            0 => writeln!(out)?,
            lines => writeln!(out, ", lines that are not UTF-8: {lines}")?,
        }
    }
    let is_clean = orphans.is_empty() && missing.is_empty() && unreadable.is_empty();
    Ok(if is_clean { Success::Clean } else { Success::Findings })
}
