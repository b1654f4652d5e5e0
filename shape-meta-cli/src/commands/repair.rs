use std::{io::Write, sync::Arc};

use serde_json::json;
use shape_meta_core::{Error, ErrorKind, NoopObserver, ShapeStoreExt, TrustedState};
use shape_meta_sqlite::{DiskIndexes, Inspector, SqliteOptions, SqliteStore};

use super::Outcome;
use crate::{
    args::{Definitions, Directory},
    exit::Success,
    output,
};

pub(super) fn run(
    database: &Directory,
    definitions: Definitions,
    force: bool,
    out: &mut dyn Write,
) -> Outcome {
    let (disk_indexes, sound) = match look(database, definitions) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Corrupt => (DiskIndexes::Maintained, None),
        // An exclusive owner is alive. Opening fails and names it.
        Err(error) if error.kind() == ErrorKind::Busy => (DiskIndexes::Maintained, None),
        Err(error) => return Err(error.into()),
    };
    if let Some(shapes) = sound.filter(|_| !force) {
        if database.json {
            output::json(out, &json!({"sound": true, "shapes": shapes}))?;
        } else {
            writeln!(
                out,
                "the database is sound: {shapes} shapes verified, no problems; nothing was changed"
            )?;
            writeln!(out, "`--force` rebuilds it all the same")?;
        }
        return Ok(Success::Clean);
    }
    let mut options = SqliteOptions::default().disk_indexes(disk_indexes);
    if let Some(verifier) = super::verifier(definitions) {
        options = options.verifier(verifier);
    }
    let store = SqliteStore::open(&database.directory, options, Arc::new(NoopObserver))?;
    // Opening has already repaired the database if it found corruption.
    let repaired = match store.report().quarantined.clone() {
        Some(repaired) => repaired,
        None => store.rebuild_from(TrustedState::default())?,
    };
    store.close()?;
    if database.json {
        let lost: Vec<_> = repaired
            .lost
            .iter()
            .map(|lost| {
                let handle = lost.handle.as_ref().map(|handle| handle.as_str());
                json!({"created_seq": lost.created.get(), "handle": handle, "why": lost.why})
            })
            .collect();
        let mut report = json!({
            "salvaged": repaired.saved,
            "lost": lost,
            "vanished": repaired.vanished,
            "lost_cleanups": repaired.lost_cleanups,
            "quarantined_as": repaired.path.display().to_string(),
        });
        if !repaired.knows_count {
            report["count"] = "unknown".into();
        }
        output::json(out, &report)?;
    } else {
        for lost in &repaired.lost {
            let handle =
                lost.handle.as_ref().map_or("a shape with an unknown handle", |handle| handle.as_str());
            let (handle, why) = (output::safe(handle), lost.why.to_string());
            let why = output::safe(&why);
            writeln!(out, "lost: {handle} (created seq {}): {why}", lost.created)?;
        }
        if repaired.vanished > 0 {
            writeln!(out, "vanished: {} shapes of which no row was found", repaired.vanished)?;
        }
        if !repaired.knows_count {
            writeln!(
                out,
                "count: unknown before the damage, so more may be lost; `orphans` finds their stored data"
            )?;
        }
        if repaired.lost_cleanups > 0 {
            writeln!(
                out,
                "lost cleanups: {} of removed shapes; `orphans` finds their stored data",
                repaired.lost_cleanups
            )?;
        }
        writeln!(out, "{} shapes salvaged, {} lost", repaired.saved, repaired.missing())?;
        let path = repaired.path.display().to_string();
        writeln!(out, "the damaged database is quarantined as {}", output::safe(&path))?;
    }
    let is_clean = repaired.missing() == 0 && repaired.knows_count && repaired.lost_cleanups == 0;
    Ok(if is_clean { Success::Clean } else { Success::Findings })
}

/// Returns the disk indexes, which a repair keeps because building them takes long, and the number of shapes
/// if the database has an owner no longer and is sound.
fn look(database: &Directory, definitions: Definitions) -> Result<(DiskIndexes, Option<u64>), Error> {
    let inspector = Inspector::open(&database.directory)?;
    let disk_indexes = inspector.disk_indexes()?;
    if inspector.owner().is_ok_and(|owner| owner.is_live == Some(true)) {
        // Opening fails and names the owner.
        return Ok((disk_indexes, None));
    }
    let report = match inspector.verify(super::verifier(definitions).as_ref(), &mut |_| {}) {
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok((disk_indexes, None)),
        report => report?,
    };
    inspector.finish()?;
    Ok((disk_indexes, (report.problems == 0).then_some(report.shapes)))
}
