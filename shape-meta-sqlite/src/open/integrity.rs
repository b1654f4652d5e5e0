use shape_meta_core::{Error, ErrorKind, Result, Seq};

use crate::{
    IntegrityCheck,
    error::failed,
    open::{identified::IdentifiedDatabase, unreadable::reports_unreadable_page},
    read::recency::Recency,
    write::change_log::ChangeLogSize,
};

/// The tables that every open reads, by the schema version that added them.
const TABLES_OF_VERSION_1: &[&str] = &["PRAGMA quick_check(meta)", "PRAGMA quick_check(shape)"];
const TASKS_BEFORE_VERSION_3: &[&str] = &["PRAGMA quick_check(to_clean)"];
const TABLES_OF_VERSION_2: &[&str] = &[
    "PRAGMA quick_check(change_log)",
    "PRAGMA quick_check(last_read)",
    "PRAGMA quick_check(opening)",
    "PRAGMA quick_check(owner)",
];
const TABLES_OF_VERSION_3: &[&str] =
    &["PRAGMA quick_check(cleanup)", "PRAGMA quick_check(trusted_storage)", "PRAGMA quick_check(lineage)"];
const WHOLE_FILE: &[&str] = &["PRAGMA quick_check(10)"];

/// Checks the pages of the database that `level` selects.
///
/// # Errors
///
/// `Corrupt` if a page is damaged, `Io` if the disk did not return a page.
pub(super) fn check(database: &IdentifiedDatabase, level: IntegrityCheck) -> Result<()> {
    let (connection, version) = (database.connection(), database.version());
    if version == 0 {
        return Ok(());
    }
    let checks: [&[&str]; 3] = match (level, version) {
        (IntegrityCheck::Nothing, _) => [&[], &[], &[]],
        (IntegrityCheck::Metadata, ..2) => [TABLES_OF_VERSION_1, TASKS_BEFORE_VERSION_3, &[]],
        (IntegrityCheck::Metadata, 2) => [TABLES_OF_VERSION_1, TASKS_BEFORE_VERSION_3, TABLES_OF_VERSION_2],
        (IntegrityCheck::Metadata, _) => [TABLES_OF_VERSION_1, TABLES_OF_VERSION_2, TABLES_OF_VERSION_3],
        (IntegrityCheck::Everything, _) => [WHOLE_FILE, &[], &[]],
    };
    if level == IntegrityCheck::Nothing && version >= 2 {
        // The store reads these tables right after the open. They are read here first, so that an unreadable
        // page is found before anything is written.
        Recency::read(connection, Seq::default(), true)?;
        ChangeLogSize::read(connection)?;
    }
    for check in checks.into_iter().flatten() {
        let findings = connection
            .prepare(check)
            .and_then(|mut statement| {
                statement.query([])?.mapped(|row| row.get(0)).collect::<rusqlite::Result<Vec<String>>>()
            })
            .map_err(failed("check the database"))?;
        if reports_unreadable_page(&findings) {
            let message = format!(
                "could not check the database, because the disk did not return all of its pages ({}); \
                 nothing has changed, and it can be tried again once the disk works",
                findings.join("; ")
            );
            return Err(Error::new(ErrorKind::Io, message));
        }
        if findings != ["ok"] {
            let message = format!("the database is damaged: {}", findings.join("; "));
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
    }
    Ok(())
}
