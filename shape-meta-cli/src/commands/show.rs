use std::{ffi::OsString, io::Write};

use shape_meta_core::{ScanItem, Timestamp};

use super::Outcome;
use crate::{
    args::Database,
    database::Opened,
    exit::{Failure, Success},
    json::{self, ShapeJson},
    output,
};

pub(super) fn run(database: &Database, handle: Option<OsString>, out: &mut dyn Write) -> Outcome {
    let (place, handle) = database.place_and(handle)?;
    let handle = handle.ok_or_else(|| Failure::Usage("HANDLE is missing".into()))?;
    let handle = handle.to_str().ok_or_else(|| Failure::Usage("HANDLE is not UTF-8".into()))?;
    let inspector = Opened::open(&place)?;
    let found = inspector.find(handle)?;
    inspector.finish()?;
    let Some(item) = found else {
        output::note(output::safe(&format!("no shape has the handle {handle:?}")));
        return Ok(Success::Findings);
    };
    if database.json {
        output::json(out, &ShapeJson::of(&item))?;
    } else {
        text(&item, out)?;
    }
    Ok(Success::Clean)
}

fn text(item: &ScanItem, out: &mut dyn Write) -> std::io::Result<()> {
    let (record, entry) = (&item.record, &item.record.entry);
    let list = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    let relations = entry.relations().iter().map(ToString::to_string).collect();
    let dependencies = record.dependencies.iter().map(ToString::to_string).collect();
    let now = Timestamp::now();
    let ago = |at: Option<Timestamp>| at.map_or_else(|| "unknown".into(), |at| output::ago(at, now));
    let definition = match str::from_utf8(&record.definition) {
        Ok(text) => ("definition", text.to_owned()),
        Err(_) => ("definition hex", json::hex(&record.definition)),
    };
    for (name, value) in [
        ("handle", entry.handle().to_string()),
        ("key", entry.key().to_string()),
        ("hash", entry.hash().to_string()),
        ("created seq", entry.created().to_string()),
        ("created at", ago(item.metadata.created_at)),
        ("state", item.metadata.state.to_string()),
        ("indexed", entry.is_indexed().to_string()),
        ("relations", list(relations)),
        ("dependencies", list(dependencies)),
        ("last read", ago(item.metadata.last_read)),
        definition,
    ] {
        writeln!(out, "{name:<16}{}", output::safe(&value))?;
    }
    Ok(())
}
