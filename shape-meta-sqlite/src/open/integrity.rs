use rusqlite::Connection;
use shape_meta_core::{Error, ErrorKind, Result, Seq};

use crate::{
    DiskIndexes, IntegrityCheck,
    error::failed,
    format::{cleanup, lineage::Lineage, schema, sql, stamp::StampRow},
    open::{identified::IdentifiedDatabase, unreadable::reports_unreadable_page},
    read::last_reads,
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
const TABLES_OF_VERSION_4: &[&str] = &["PRAGMA quick_check(stamp)"];
/// The first version with blocks of definitions.
const BLOCKS: u32 = 5;
const WHOLE_FILE: &[&str] = &["PRAGMA quick_check(10)"];

/// Rows that belong together, in all versions: what is wrong, and how to count it.
const ROWS: &[(&str, &str)] =
    &[("shapes more are counted than there are", "SELECT total - (SELECT count(*) FROM shape) FROM meta")];
const DEFINITIONS: &[(&str, &str)] = &[
    ("shapes have no definition", sql::MISSING_DEFINITIONS),
    ("rows of definitions have no shape", sql::UNOWNED_DEFINITIONS),
];
const DEFINITIONS_BEFORE_VERSION_5: &[(&str, &str)] = &[
    ("shapes have no definition", "SELECT count(*) FROM shape WHERE id NOT IN (SELECT id FROM definition)"),
    ("definitions have no shape", "SELECT count(*) FROM definition WHERE id NOT IN (SELECT id FROM shape)"),
];
const LOOKUP_ROWS: &[(&str, &str)] = &[
    (
        "rows of handle_lookup have no shape",
        "SELECT count(*) FROM handle_lookup WHERE id NOT IN (SELECT id FROM shape)",
    ),
    (
        "rows of key_lookup have no shape",
        "SELECT count(*) FROM key_lookup WHERE id NOT IN (SELECT id FROM shape)",
    ),
    (
        "rows of relation_lookup have no shape",
        "SELECT count(*) FROM relation_lookup WHERE id NOT IN (SELECT id FROM shape)",
    ),
    (
        "shapes are missing in handle_lookup",
        "SELECT count(*) FROM shape WHERE id NOT IN (SELECT id FROM handle_lookup)",
    ),
    (
        "shapes are missing in key_lookup",
        "SELECT count(*) FROM shape WHERE id NOT IN (SELECT id FROM key_lookup)",
    ),
    (
        "rows of relation_lookup are missing",
        "SELECT (SELECT sum(length(relations)) / 4 FROM shape) - count(*) FROM relation_lookup",
    ),
];

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
    let checks: [&[&str]; 4] = match (level, version) {
        (IntegrityCheck::Nothing, _) => [&[]; 4],
        (IntegrityCheck::Metadata, ..2) => [TABLES_OF_VERSION_1, TASKS_BEFORE_VERSION_3, &[], &[]],
        (IntegrityCheck::Metadata, 2) => {
            [TABLES_OF_VERSION_1, TASKS_BEFORE_VERSION_3, TABLES_OF_VERSION_2, &[]]
        }
        (IntegrityCheck::Metadata, 3) => [TABLES_OF_VERSION_1, TABLES_OF_VERSION_2, TABLES_OF_VERSION_3, &[]],
        (IntegrityCheck::Metadata, _) => {
            [TABLES_OF_VERSION_1, TABLES_OF_VERSION_2, TABLES_OF_VERSION_3, TABLES_OF_VERSION_4]
        }
        (IntegrityCheck::Everything, _) => [WHOLE_FILE, &[], &[], &[]],
    };
    if level == IntegrityCheck::Nothing {
        // The open and the store read these tables in any case. They are read here first, so that an
        // unreadable page is found before anything is written.
        if version >= 2 {
            last_reads::recency(connection, Seq::default(), true)?;
            ChangeLogSize::read(connection)?;
        }
        if version >= 3 {
            Lineage::read(connection)?;
            cleanup::is_storage_trusted(connection, None)?;
        }
        if version >= 4 {
            StampRow::read(connection)?;
        }
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
            return Err(damaged(&findings.join("; ")));
        }
    }
    match level {
        IntegrityCheck::Everything => check_rows(connection, version),
        IntegrityCheck::Nothing | IntegrityCheck::Metadata => Ok(()),
    }
}

/// Checks that no row is missing that another one needs: it is not the absence of a shape.
fn check_rows(connection: &Connection, version: u32) -> Result<()> {
    let doing = "check the rows of the database";
    let lookups = match schema::disk_indexes(connection).map_err(failed(doing))? {
        DiskIndexes::Maintained => LOOKUP_ROWS,
        DiskIndexes::Omitted => &[],
    };
    let definitions = if version < BLOCKS { DEFINITIONS_BEFORE_VERSION_5 } else { DEFINITIONS };
    for (wrong, sql) in ROWS.iter().chain(definitions).chain(lookups) {
        let count: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).map_err(failed(doing))?;
        if let Some(count) = count.filter(|count| *count != 0) {
            return Err(damaged(&format!("{count} {wrong}")));
        }
    }
    Ok(())
}

fn damaged(findings: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the database is damaged: {findings}"))
}
