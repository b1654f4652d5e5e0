use std::io::Write;

use shape_meta_core::{ScanItem, Timestamp};
use shape_meta_sqlite::Inspector;

use super::Outcome;
use crate::{args::Database, exit::Done, json::ShapeJson, output};

pub(super) fn run(database: &Database, handle: &str, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    let found = inspector.find(handle)?;
    inspector.finish()?;
    let Some(listed) = found else {
        eprintln!("shape-meta: there is no shape with the handle {handle:?}");
        return Ok(Done::Found);
    };
    if database.json {
        output::json(out, &ShapeJson::of(&listed))?;
    } else {
        text(&listed, out)?;
    }
    Ok(Done::Well)
}

fn text(listed: &ScanItem, out: &mut dyn Write) -> std::io::Result<()> {
    let (record, entry) = (&listed.record, &listed.record.entry);
    let list = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    let relations = entry.relations().iter().map(ToString::to_string).collect();
    let dependencies = record.dependencies.iter().map(ToString::to_string).collect();
    let now = Timestamp::now();
    let read = listed.metadata.last_read.map(|at| format!("{} ago", output::age(at.age_at(now))));
    for (name, value) in [
        ("handle", entry.handle().to_string()),
        ("key", entry.key().to_string()),
        ("hash", entry.hash().to_string()),
        ("created", entry.created().to_string()),
        ("state", listed.metadata.state.to_string()),
        ("indexed", entry.is_indexed().to_string()),
        ("relations", list(relations)),
        ("dependencies", list(dependencies)),
        ("last read", read.unwrap_or_else(|| "not known".into())),
        ("definition", String::from_utf8_lossy(&record.definition).into_owned()),
    ] {
        writeln!(out, "{name:<15}{value}")?;
    }
    Ok(())
}
