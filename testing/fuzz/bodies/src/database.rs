use std::{fs, path::Path, sync::Arc};

use shape_meta_core::{ErrorKind, NoopObserver, ReadShapes, Relation, Result};
use shape_meta_sqlite::{IntegrityCheck, OnCorruption, SqliteStore};

use crate::{
    Damage, Target,
    sample::{DATABASE, LOCK, Sample, WAL, directory, options, sample},
};

/// How a damaged database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The integrity check.
    pub check: IntegrityCheck,
    /// What to do with a corrupt file.
    pub on_corruption: OnCorruption,
}

impl Opening {
    /// Every combination.
    pub const ALL: [Self; 6] = {
        const fn opening(check: IntegrityCheck, on_corruption: OnCorruption) -> Opening {
            Opening { check, on_corruption }
        }
        [
            opening(IntegrityCheck::Nothing, OnCorruption::Quarantine),
            opening(IntegrityCheck::Nothing, OnCorruption::Refuse),
            opening(IntegrityCheck::Metadata, OnCorruption::Quarantine),
            opening(IntegrityCheck::Metadata, OnCorruption::Refuse),
            opening(IntegrityCheck::Everything, OnCorruption::Quarantine),
            opening(IntegrityCheck::Everything, OnCorruption::Refuse),
        ]
    };
}

/// Decodes the bytes of a fuzzer, an opening and a list of damages, and runs [`database`].
pub fn database_bytes(mut bytes: &[u8]) {
    let Some((opening, rest)) = bytes.split_first() else { return };
    bytes = rest;
    let damages: Vec<_> = std::iter::from_fn(|| Damage::read(&mut bytes)).take(8).collect();
    database(Opening::ALL[usize::from(*opening) % Opening::ALL.len()], &damages);
}

/// Checks that a damaged database opens, is refused or is quarantined (C11). A refused or quarantined file is
/// kept byte for byte. An open store returns only shapes that were once written.
///
/// # Panics
///
/// If a property does not hold.
pub fn database(opening: Opening, damages: &[Damage]) {
    let sample = sample();
    let (mut file, mut wal) = (Some(sample.database.clone()), Some(sample.wal.clone()));
    let mut lock = Some(sample.lock.clone());
    for damage in damages {
        damage.apply(match damage.target() {
            Target::Database => &mut file,
            Target::Wal => &mut wal,
            Target::Lock => &mut lock,
        });
    }
    let directory = directory();
    let directory = directory.path();
    Sample::write(directory, &[(DATABASE, &file), (WAL, &wal), (LOCK, &lock)]);

    let options = options().integrity_check(opening.check).on_corruption(opening.on_corruption);
    let store = match SqliteStore::open(directory, options, Arc::new(NoopObserver)) {
        Ok(store) => store,
        Err(error) => {
            assert!(is_caused_by_damage(error.kind()), "{opening:?} {damages:?}: {error}");
            assert_kept(directory, &file, &wal, &format!("refused ({error})"));
            return;
        }
    };
    let recovered = store.recover();
    if store.report().quarantined.is_some() {
        assert_eq!(opening.on_corruption, OnCorruption::Quarantine);
        assert_kept(directory, &file, &wal, "quarantined");
    }
    if let Err(error) = recovered {
        assert!(is_caused_by_damage(error.kind()), "{error}");
    }
    // A read either fails because of the damage, or returns what was once written.
    for outcome in [check_scan(&store, sample), check_lookups(&store, sample)] {
        if let Err(error) = outcome {
            assert!(is_caused_by_damage(error.kind()), "{error}");
        }
    }
}

fn is_caused_by_damage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Corrupt | ErrorKind::NotADatabase | ErrorKind::UnsupportedSchema | ErrorKind::Io
    )
}

/// Checks everything that a scan returns.
fn check_scan(store: &SqliteStore, sample: &Sample) -> Result<()> {
    for item in store.scan()? {
        let item = item?;
        sample.assert_was_written(&item.record, item.metadata.state);
    }
    Ok(())
}

/// Checks everything that look-ups return.
fn check_lookups(store: &SqliteStore, sample: &Sample) -> Result<()> {
    store.counts()?;
    // One in three shapes: the others take the same path.
    for shape in sample.written.values().step_by(3) {
        if let Some(holder) = store.handle_for(&shape.key)? {
            assert_eq!(holder, shape.handle);
        }
        if let (Some(metadata), Some(record)) = (store.metadata(&shape.handle)?, store.record(&shape.handle)?)
        {
            sample.assert_was_written(&record, metadata.state);
        }
    }
    for relation in (0..7).map(Relation::new) {
        for handle in store.handles_for_relations(&[relation])? {
            let reader = sample.written.get(handle.as_str()).expect("the handle was once written");
            assert!(reader.relations.contains(&relation));
        }
    }
    Ok(())
}

/// Asserts that the database file and the WAL are still in the directory, unchanged, under any name.
fn assert_kept(directory: &Path, file: &Option<Vec<u8>>, wal: &Option<Vec<u8>>, why: &str) {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .map(|path| (path.clone(), fs::read(path).expect("the directory can be read")))
        .collect();
    for (name, wanted) in [("database", file), ("WAL", wal)] {
        // An empty file has no bytes to lose.
        let Some(wanted) = wanted.as_ref().filter(|bytes| !bytes.is_empty()) else { continue };
        let names: Vec<_> = files.iter().map(|(path, bytes)| (path.file_name(), bytes.len())).collect();
        assert!(
            files.iter().any(|(_, bytes)| bytes == wanted),
            "the {name} was {why}, but its bytes are lost: {names:?}"
        );
    }
}
