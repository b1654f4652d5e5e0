use std::{io::Write, sync::Arc};

use serde_json::json;
use shape_meta_core::{ErrorKind, NoopObserver, ShapeStoreExt, TrustedState};
use shape_meta_sqlite::{DiskIndexes, Inspector, SqliteOptions, SqliteStore};

use super::Outcome;
use crate::{
    args::{Database, Definitions},
    exit::Success,
    output,
};

pub(super) fn run(database: &Database, definitions: Definitions, out: &mut dyn Write) -> Outcome {
    // Keep the disk indexes as they are, where that can be read: building them takes long.
    let disk_indexes =
        match Inspector::open(&database.directory).and_then(|inspector| inspector.disk_indexes()) {
            Ok(disk_indexes) => disk_indexes,
            Err(error) if error.kind() == ErrorKind::Corrupt => DiskIndexes::Maintained,
            // An exclusive owner is alive. Opening fails and names it.
            Err(error) if error.kind() == ErrorKind::Busy => DiskIndexes::Maintained,
            Err(error) => return Err(error.into()),
        };
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
        output::json(
            out,
            &json!({
                "salvaged": repaired.saved,
                "lost": lost,
                "vanished": repaired.vanished,
                "lost_cleanups": repaired.lost_cleanups,
                "quarantined_as": repaired.path.display().to_string(),
            }),
        )?;
    } else {
        for lost in &repaired.lost {
            let handle =
                lost.handle.as_ref().map_or("a shape with an unknown handle", |handle| handle.as_str());
            writeln!(out, "lost: {handle} (sequence number {}): {}", lost.created, lost.why)?;
        }
        if repaired.vanished > 0 {
            writeln!(out, "vanished: {} shapes of which no row was found", repaired.vanished)?;
        }
        if repaired.lost_cleanups > 0 {
            writeln!(
                out,
                "lost: {} cleanup tasks of removed shapes; `orphans` finds their stored data",
                repaired.lost_cleanups
            )?;
        }
        writeln!(out, "{} shapes salvaged, {} lost", repaired.saved, repaired.missing())?;
        writeln!(out, "the damaged database is quarantined as {}", repaired.path.display())?;
    }
    let is_clean = repaired.missing() == 0 && repaired.lost_cleanups == 0;
    Ok(if is_clean { Success::Clean } else { Success::Findings })
}
