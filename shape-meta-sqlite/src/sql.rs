//! Every statement that runs more than once, in one place, so that the plans of all can be asked for.

use crate::row::entry_columns;

/// What a statement is for, and its text.
pub(crate) type Named = (&'static str, &'static str);

pub(crate) const META: &str = "SELECT last_seq, total, indexed, epoch, checksum FROM meta WHERE id = 1";
pub(crate) const SET_META: &str =
    "UPDATE meta SET last_seq = ?1, total = ?2, indexed = ?3, epoch = ?4, checksum = ?5 WHERE id = 1";

pub(crate) const ENTRY: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM handle_lookup AS lookup JOIN shape ON shape.id = lookup.id
    WHERE lookup.hash = ?1 AND shape.handle = ?2"
);
pub(crate) const RECORD: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", definition.dependencies, definition.body, definition.checksum
    FROM handle_lookup AS lookup JOIN shape ON shape.id = lookup.id JOIN definition ON definition.id = lookup.id
    WHERE lookup.hash = ?1 AND shape.handle = ?2"
);
pub(crate) const HANDLE_FOR: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM key_lookup AS lookup JOIN shape ON shape.id = lookup.id
    WHERE lookup.hash = ?1 AND shape.key = ?2"
);
pub(crate) const READING: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM relation_lookup AS lookup JOIN shape ON shape.id = lookup.id
    WHERE lookup.relation = ?1"
);
pub(crate) const DEFINITION: &str = "SELECT dependencies, body, checksum FROM definition WHERE id = ?1";
pub(crate) const HANDLE_OF: &str = "SELECT id, handle FROM shape WHERE id = ?1";

pub(crate) const SCAN: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", definition.dependencies, definition.body, definition.checksum
    FROM shape JOIN definition ON definition.id = shape.id
    WHERE shape.id > ?1 ORDER BY shape.id"
);
pub(crate) const LOAD: &str = concat!("SELECT ", entry_columns!(), " FROM shape ORDER BY shape.id");
pub(crate) const FOUND_AT_OPEN: &str = "SELECT id, handle FROM shape WHERE id <= ?1 ORDER BY id";

pub(crate) const INSERT_SHAPE: &str = "
    INSERT INTO shape (id, handle, key, hash, state, indexed, relations, checksum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
pub(crate) const INSERT_DEFINITION: &str =
    "INSERT INTO definition (id, dependencies, body, checksum) VALUES (?1, ?2, ?3, ?4)";
// States only grow.
pub(crate) const MARK: &str = "UPDATE shape SET state = ?2, checksum = ?3 WHERE id = ?1 AND state < ?2";
pub(crate) const DELETE_SHAPE: &str = "DELETE FROM shape WHERE id = ?1";
pub(crate) const DELETE_DEFINITION: &str = "DELETE FROM definition WHERE id = ?1";

pub(crate) const INSERT_HANDLE: &str =
    "INSERT INTO handle_lookup (hash, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const INSERT_KEY: &str =
    "INSERT INTO key_lookup (hash, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const INSERT_RELATION: &str =
    "INSERT INTO relation_lookup (relation, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const DELETE_HANDLE: &str = "DELETE FROM handle_lookup WHERE hash = ?1 AND id = ?2";
pub(crate) const DELETE_KEY: &str = "DELETE FROM key_lookup WHERE hash = ?1 AND id = ?2";
pub(crate) const DELETE_RELATION: &str = "DELETE FROM relation_lookup WHERE relation = ?1 AND id = ?2";

pub(crate) const TO_CLEAN: &str = "SELECT handle, checksum FROM to_clean ORDER BY handle";
pub(crate) const INSERT_TO_CLEAN: &str =
    "INSERT INTO to_clean (handle, checksum) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const DELETE_TO_CLEAN: &str = "DELETE FROM to_clean WHERE handle = ?1";

/// Statements that every database can run.
pub(crate) const ALWAYS: &[Named] = &[
    ("meta", META),
    ("set_meta", SET_META),
    ("definition", DEFINITION),
    ("handle_of", HANDLE_OF),
    ("scan", SCAN),
    ("load", LOAD),
    ("found_at_open", FOUND_AT_OPEN),
    ("insert_shape", INSERT_SHAPE),
    ("insert_definition", INSERT_DEFINITION),
    ("mark", MARK),
    ("delete_shape", DELETE_SHAPE),
    ("delete_definition", DELETE_DEFINITION),
    ("to_clean", TO_CLEAN),
    ("insert_to_clean", INSERT_TO_CLEAN),
    ("delete_to_clean", DELETE_TO_CLEAN),
];

/// Statements that need the index tables.
pub(crate) const WITH_LOOKUPS: &[Named] = &[
    ("entry", ENTRY),
    ("record", RECORD),
    ("handle_for", HANDLE_FOR),
    ("handles_reading", READING),
    ("insert_handle", INSERT_HANDLE),
    ("insert_key", INSERT_KEY),
    ("insert_relation", INSERT_RELATION),
    ("delete_handle", DELETE_HANDLE),
    ("delete_key", DELETE_KEY),
    ("delete_relation", DELETE_RELATION),
];
