use std::{io::Write, sync::Arc};

use serde_json::json;
use shape_meta_core::{ErrorKind, NoopObserver, ShapeStoreExt, TrustedState};
use shape_meta_sqlite::{DiskIndexes, Inspector, SqliteOptions, SqliteStore};

use super::Outcome;
use crate::{
    args::{Database, Definitions},
    exit::Done,
    output,
};

pub(super) fn run(database: &Database, definitions: Definitions, out: &mut dyn Write) -> Outcome {
    // The look-ups that it has are kept, as far as that can be told: building others would take long.
    let disk_indexes =
        match Inspector::open(&database.directory).and_then(|inspector| inspector.disk_indexes()) {
            Ok(disk_indexes) => disk_indexes,
            Err(error) if error.kind() == ErrorKind::Corrupt => DiskIndexes::Maintained,
            // Its owner keeps it to itself, and opening says so.
            Err(error) if error.kind() == ErrorKind::Busy => DiskIndexes::Maintained,
            Err(error) => return Err(error.into()),
        };
    let mut options = SqliteOptions::default().disk_indexes(disk_indexes);
    if let Some(verifier) = super::verifier(definitions) {
        options = options.verifier(verifier);
    }
    let store = SqliteStore::open(&database.directory, options, Arc::new(NoopObserver))?;
    // Opening repairs what it finds damaged itself.
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
                json!({"created": lost.created.get(), "handle": handle, "why": lost.why})
            })
            .collect();
        output::json(
            out,
            &json!({
                "saved": repaired.saved,
                "lost": lost,
                "vanished": repaired.vanished,
                "moved_aside_to": repaired.path.display().to_string(),
            }),
        )?;
    } else {
        for lost in &repaired.lost {
            let handle = lost.handle.as_ref().map_or("a shape", |handle| handle.as_str());
            writeln!(out, "lost: {handle} (created at {}): {}", lost.created, lost.why)?;
        }
        if repaired.vanished > 0 {
            writeln!(out, "lost: {} shapes of which nothing was found", repaired.vanished)?;
        }
        writeln!(out, "{} shapes saved, {} lost", repaired.saved, repaired.missing())?;
        writeln!(out, "the damaged database is kept as {}", repaired.path.display())?;
    }
    Ok(if repaired.missing() == 0 { Done::Well } else { Done::Found })
}
