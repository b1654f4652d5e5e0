use std::{fs, path::Path, sync::Arc};

use shape_meta_core::{ErrorKind, NoopObserver, ReadShapes, Relation, Result};
use shape_meta_sqlite::{IntegrityCheck, OnCorruption, SqliteStore};

use crate::{
    Damage, Target,
    sample::{DATABASE, LOCK, LOG, Sample, directory, options, sample},
};

/// How a damaged database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// How much is checked.
    pub check: IntegrityCheck,
    /// What happens to what is found damaged.
    pub on_corruption: OnCorruption,
}

impl Opening {
    /// Each combination.
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

/// The same for the bytes of a fuzzer: how it is opened, and a list of damages.
pub fn database_bytes(mut bytes: &[u8]) {
    let Some((opening, rest)) = bytes.split_first() else { return };
    bytes = rest;
    let damages: Vec<_> = std::iter::from_fn(|| Damage::read(&mut bytes)).take(8).collect();
    database(Opening::ALL[usize::from(*opening) % Opening::ALL.len()], &damages);
}

/// A damaged database opens, or is refused, or is moved aside, without a panic. What is moved aside or refused is
/// kept byte for byte. What is served is what was once written.
///
/// # Panics
///
/// If that is not so.
pub fn database(opening: Opening, damages: &[Damage]) {
    let sample = sample();
    let (mut file, mut log) = (Some(sample.database.clone()), Some(sample.log.clone()));
    let mut lock = Some(sample.lock.clone());
    for damage in damages {
        damage.apply(match damage.target() {
            Target::Database => &mut file,
            Target::Log => &mut log,
            Target::Lock => &mut lock,
        });
    }
    let directory = directory();
    let directory = directory.path();
    Sample::lay(directory, &[(DATABASE, &file), (LOG, &log), (LOCK, &lock)]);

    let options = options().integrity_check(opening.check).on_corruption(opening.on_corruption);
    let store = match SqliteStore::open(directory, options, Arc::new(NoopObserver)) {
        Ok(store) => store,
        Err(error) => {
            assert!(is_about_the_file(error.kind()), "{opening:?} {damages:?}: {error}");
            assert_kept(directory, &file, &log, &format!("refused ({error})"));
            return;
        }
    };
    let recovered = store.recover();
    if store.report().quarantined.is_some() {
        assert_eq!(opening.on_corruption, OnCorruption::Quarantine);
        assert_kept(directory, &file, &log, "moved aside");
    }
    if let Err(error) = recovered {
        assert!(is_about_the_file(error.kind()), "{error}");
    }
    // What is found when it is read is told; what is served is true.
    for outcome in [serve(&store, sample), look_up(&store, sample)] {
        if let Err(error) = outcome {
            assert!(is_about_the_file(error.kind()), "{error}");
        }
    }
}

fn is_about_the_file(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Corrupt | ErrorKind::NotADatabase | ErrorKind::UnsupportedSchema | ErrorKind::Io
    )
}

/// All that can be listed.
fn serve(store: &SqliteStore, sample: &Sample) -> Result<()> {
    for listed in store.scan()? {
        let listed = listed?;
        sample.assert_true(&listed.record, listed.metadata.state);
    }
    Ok(())
}

/// All that can be asked for.
fn look_up(store: &SqliteStore, sample: &Sample) -> Result<()> {
    store.counts()?;
    // A third of them: the rest is asked for in the same way.
    for shape in sample.written.values().step_by(3) {
        if let Some(holder) = store.handle_for(&shape.key)? {
            assert_eq!(holder, shape.handle);
        }
        if let (Some(metadata), Some(record)) = (store.metadata(&shape.handle)?, store.record(&shape.handle)?)
        {
            sample.assert_true(&record, metadata.state);
        }
    }
    for relation in (0..7).map(Relation::new) {
        for handle in store.handles_for_relations(&[relation])? {
            let reader = sample.written.get(handle.as_str()).expect("it was never written");
            assert!(reader.relations.contains(&relation));
        }
    }
    Ok(())
}

/// The database and its log, as they were found, are still somewhere in the directory.
fn assert_kept(directory: &Path, file: &Option<Vec<u8>>, log: &Option<Vec<u8>>, why: &str) {
    let entries = fs::read_dir(directory).expect("it can be read");
    let there: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .map(|path| (path.clone(), fs::read(path).expect("it can be read")))
        .collect();
    for (name, wanted) in [("database", file), ("log", log)] {
        // Nothing is lost with a file without a byte.
        let Some(wanted) = wanted.as_ref().filter(|bytes| !bytes.is_empty()) else { continue };
        let names: Vec<_> = there.iter().map(|(path, bytes)| (path.file_name(), bytes.len())).collect();
        assert!(
            there.iter().any(|(_, bytes)| bytes == wanted),
            "the {name} was {why} and is gone: {names:?}"
        );
    }
}
