//! All statements that run more than once, in one place, so that their query plans can be checked.

use crate::format::row::{definition_columns, entry_columns};

/// Counts the rows of definitions that belong to no shape.
pub(crate) const UNOWNED_DEFINITIONS: &str = "
    SELECT count(*) FROM definition WHERE NOT EXISTS (
        SELECT 1 FROM shape
        WHERE shape.id BETWEEN coalesce(definition.first, definition.id) AND definition.id
    )";
/// Counts the shapes that have neither a row of their own in `definition`, nor a block.
pub(crate) const MISSING_DEFINITIONS: &str = "
    SELECT count(*) FROM shape WHERE coalesce(
        (SELECT coalesce(next.first, next.id) > shape.id
         FROM definition AS next WHERE next.id >= shape.id ORDER BY next.id LIMIT 1),
        true
    )";

/// Joins the row with the definition of each shape in a table, or of another shape if it has none.
macro_rules! join_definition {
    ($table:literal) => {
        concat!(
            " LEFT JOIN definition ON definition.id = (
                SELECT min(next.id) FROM definition AS next WHERE next.id >= ",
            $table,
            ".id
            )"
        )
    };
}

/// The name of a statement, and its text.
pub(crate) type Named = (&'static str, &'static str);

pub(crate) const META: &str =
    "SELECT last_seq, total, indexed, epoch, database_id, opening_id, checksum FROM meta WHERE id = 1";
pub(crate) const SET_META: &str = "
    UPDATE meta SET last_seq = ?1, total = ?2, indexed = ?3, epoch = ?4, database_id = ?5, opening_id = ?6,
        checksum = ?7
    WHERE id = 1";
pub(crate) const LINEAGE: &str = "SELECT epoch, opening_id, began_at, checksum FROM lineage ORDER BY epoch";
pub(crate) const RECORD_LINEAGE: &str =
    "INSERT INTO lineage (epoch, opening_id, began_at, checksum) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const TRIM_LINEAGE: &str = "
    DELETE FROM lineage WHERE epoch < (SELECT epoch FROM lineage ORDER BY epoch DESC LIMIT 1 OFFSET ?1 - 1)";

// The caller compares the row that a look-up leads to. It has no shape if the row of one is missing: damage.
pub(crate) const ENTRY: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", lookup.id FROM handle_lookup AS lookup LEFT JOIN shape ON shape.id = lookup.id
    WHERE lookup.hash = ?1"
);
pub(crate) const RECORD: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", lookup.id, ",
    definition_columns!(),
    " FROM handle_lookup AS lookup LEFT JOIN shape ON shape.id = lookup.id",
    join_definition!("lookup"),
    " WHERE lookup.hash = ?1"
);
pub(crate) const HANDLE_FOR: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", lookup.id FROM key_lookup AS lookup LEFT JOIN shape ON shape.id = lookup.id
    WHERE lookup.hash = ?1"
);
pub(crate) const HANDLES_FOR_RELATION: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", lookup.id FROM relation_lookup AS lookup LEFT JOIN shape ON shape.id = lookup.id
    WHERE lookup.relation = ?1"
);
/// The row with the definition of a shape, or of another one if it has none: see [`crate::format::block`].
pub(crate) const DEFINITION: &str =
    concat!("SELECT ", definition_columns!(), " FROM definition WHERE id >= ?1 ORDER BY id LIMIT 1");
pub(crate) const HAS_SHAPE: &str = "SELECT 1 FROM shape WHERE id = ?1";
pub(crate) const HANDLE_OF: &str = "SELECT id, handle FROM shape WHERE id = ?1";

pub(crate) const SCAN: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", ",
    definition_columns!(),
    " FROM shape",
    join_definition!("shape"),
    " WHERE shape.id > ?1 ORDER BY shape.id"
);
pub(crate) const LOAD: &str = concat!("SELECT ", entry_columns!(), " FROM shape ORDER BY shape.id");
pub(crate) const LOAD_RANGE: &str =
    concat!("SELECT ", entry_columns!(), " FROM shape WHERE shape.id BETWEEN ?1 AND ?2 ORDER BY shape.id");
pub(crate) const FIRST_AND_LAST: &str = "SELECT (SELECT min(id) FROM shape), (SELECT max(id) FROM shape)";
pub(crate) const SEEN_AT_OPEN: &str = "SELECT id, handle FROM shape WHERE id <= ?1 ORDER BY id";

pub(crate) const ADDED_SINCE: &str = concat!(
    "SELECT ",
    entry_columns!(),
    ", coalesce(last_read.at, 0)
    FROM shape LEFT JOIN last_read ON last_read.id = shape.id
    WHERE shape.id > ?1 ORDER BY shape.id"
);
pub(crate) const CHANGES_AT: &str = "SELECT through, changed, checksum FROM change_log WHERE through = ?1";
pub(crate) const SET_CHANGES_AT: &str = "
    INSERT INTO change_log (through, changed, checksum) VALUES (?1, ?2, ?3)
    ON CONFLICT (through) DO UPDATE SET changed = excluded.changed, checksum = excluded.checksum";
pub(crate) const CHANGES_FROM: &str =
    "SELECT through, changed, checksum FROM change_log WHERE through >= ?1 ORDER BY through";
pub(crate) const CHANGE_LOG_FLOOR: &str = "SELECT through FROM change_log ORDER BY through LIMIT 1";
pub(crate) const CHANGE_LOG_SIZE: &str = "SELECT coalesce(sum(length(changed) + ?1), 0) FROM change_log";
pub(crate) const CHANGE_LOG_BACKWARDS: &str =
    "SELECT through, length(changed) FROM change_log ORDER BY through DESC";
pub(crate) const TRIM_CHANGE_LOG: &str = "DELETE FROM change_log WHERE through < ?1";

pub(crate) const SAVED_READS: &str = "SELECT id, at FROM last_read ORDER BY id";
/// Replaces an earlier time, and one that is later than `?3`, which is now, or negative.
pub(crate) const SAVE_READ: &str = "
    INSERT INTO last_read (id, at) SELECT id, ?2 FROM shape WHERE id = ?1
    ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE excluded.at > at OR at > ?3";
pub(crate) const DELETE_READ: &str = "DELETE FROM last_read WHERE id = ?1";
pub(crate) const OPENINGS: &str = "SELECT through, at FROM opening ORDER BY through";
/// Changes the opening that found the same shapes only if that is later than `?2`, which is now, or negative.
pub(crate) const RECORD_OPENING: &str = "
    INSERT INTO opening (through, at)
    SELECT ?1, ?2 WHERE ?1 >= coalesce((SELECT max(through) FROM opening), 1)
    ON CONFLICT (through) DO UPDATE SET at = excluded.at WHERE at > excluded.at OR at < 0";
pub(crate) const TRIM_OPENINGS: &str = "
    DELETE FROM opening WHERE through < (SELECT through FROM opening ORDER BY through DESC LIMIT 1 OFFSET ?1 - 1)";
pub(crate) const OWNER: &str = "SELECT process, host, since FROM owner WHERE id = 1";
pub(crate) const RECORD_OWNER: &str = "
    INSERT INTO owner (id, process, host, since) VALUES (1, ?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET process = excluded.process, host = excluded.host, since = excluded.since";

pub(crate) const INSERT_SHAPE: &str = "
    INSERT INTO shape (id, handle, key, hash, state, indexed, relations, checksum, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING";
pub(crate) const INSERT_DEFINITION: &str =
    "INSERT INTO definition (id, dependencies, body, checksum, first) VALUES (?1, ?2, ?3, ?4, ?5)";
// A snapshot state only advances.
pub(crate) const MARK: &str = "UPDATE shape SET state = ?2, checksum = ?3 WHERE id = ?1 AND state < ?2";
pub(crate) const DELETE_SHAPE: &str = "DELETE FROM shape WHERE id = ?1";
/// Deletes the row of one definition.
pub(crate) const DELETE_DEFINITION: &str = "DELETE FROM definition WHERE id = ?1 AND first IS NULL";
/// The first row from the id of a shape on, which is its block if it has one.
pub(crate) const BLOCK_OF: &str = "SELECT id, first FROM definition WHERE id >= ?1 ORDER BY id LIMIT 1";
/// Deletes a block of which no shape is left.
pub(crate) const DELETE_BLOCK: &str = "
    DELETE FROM definition WHERE id = ?2
    AND NOT EXISTS (SELECT 1 FROM shape WHERE shape.id BETWEEN ?1 AND ?2)";

pub(crate) const INSERT_HANDLE: &str =
    "INSERT INTO handle_lookup (hash, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const INSERT_KEY: &str =
    "INSERT INTO key_lookup (hash, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const INSERT_RELATION: &str =
    "INSERT INTO relation_lookup (relation, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const DELETE_HANDLE: &str = "DELETE FROM handle_lookup WHERE hash = ?1 AND id = ?2";
pub(crate) const DELETE_KEY: &str = "DELETE FROM key_lookup WHERE hash = ?1 AND id = ?2";
pub(crate) const DELETE_RELATION: &str = "DELETE FROM relation_lookup WHERE relation = ?1 AND id = ?2";

pub(crate) const COUNT_HANDLES: &str = "SELECT count(*) FROM handle_lookup";
pub(crate) const COUNT_KEYS: &str = "SELECT count(*) FROM key_lookup";
pub(crate) const COUNT_RELATIONS: &str = "SELECT count(*) FROM relation_lookup";

pub(crate) const CLEANUP_TASKS: &str =
    "SELECT id, handle, checksum FROM cleanup WHERE id > ?1 ORDER BY id LIMIT ?2";
pub(crate) const COUNT_CLEANUP_TASKS: &str = "SELECT count(*) FROM cleanup";
pub(crate) const LOWEST_CLEANUP_TASK: &str = "SELECT id FROM cleanup ORDER BY id LIMIT 1";
pub(crate) const INSERT_CLEANUP_TASK: &str =
    "INSERT INTO cleanup (id, handle, checksum) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
pub(crate) const DELETE_CLEANUP_TASK: &str = "DELETE FROM cleanup WHERE id = ?1 AND handle = ?2";
/// Deletes the task of a handle that a newer shape has, if that shape is stored.
pub(crate) const DROP_CLEANUP_TASK: &str = "
    DELETE FROM cleanup WHERE id = ?1 AND handle = ?2
    AND EXISTS (SELECT 1 FROM shape WHERE shape.id = ?3 AND shape.handle = ?2)";
/// Makes a task of every shape. `handle_checksum` is a function of the writer.
pub(crate) const CLEANUP_TASKS_OF_ALL: &str = "
    INSERT INTO cleanup (id, handle, checksum)
    SELECT id, handle, handle_checksum(handle) FROM shape WHERE true ON CONFLICT DO NOTHING";
pub(crate) const TRUSTED_STORAGE: &str = "SELECT database_id, checksum FROM trusted_storage WHERE id = 1";
pub(crate) const SET_TRUSTED_STORAGE: &str = "
    INSERT INTO trusted_storage (id, database_id, checksum) VALUES (1, ?1, ?2)
    ON CONFLICT (id) DO UPDATE SET database_id = excluded.database_id, checksum = excluded.checksum";
pub(crate) const DELETE_TRUSTED_STORAGE: &str = "DELETE FROM trusted_storage WHERE id = 1";

pub(crate) const STAMP: &str = "
    SELECT version, source, rekey_through, next_version, next_source, checksum FROM stamp WHERE id = 1";
pub(crate) const SET_STAMP: &str = "
    INSERT INTO stamp (id, version, source, rekey_through, next_version, next_source, checksum)
    VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, source = excluded.source,
        rekey_through = excluded.rekey_through, next_version = excluded.next_version,
        next_source = excluded.next_source, checksum = excluded.checksum";
pub(crate) const LAST_READ_OF: &str = "SELECT at FROM last_read WHERE id = ?1";

/// Statements that every database can run.
pub(crate) const ALWAYS: &[Named] = &[
    ("has_shape", HAS_SHAPE),
    ("handle_of", HANDLE_OF),
    ("load", LOAD),
    ("load_range", LOAD_RANGE),
    ("first_and_last", FIRST_AND_LAST),
    ("found_at_open", SEEN_AT_OPEN),
    ("insert_shape", INSERT_SHAPE),
    ("mark", MARK),
    ("delete_shape", DELETE_SHAPE),
];

/// Statements that need the tables of version 2.
pub(crate) const SINCE_VERSION_2: &[Named] = &[
    ("added_since", ADDED_SINCE),
    ("changes_at", CHANGES_AT),
    ("set_changes_at", SET_CHANGES_AT),
    ("changes_from", CHANGES_FROM),
    ("change_log_floor", CHANGE_LOG_FLOOR),
    ("change_log_size", CHANGE_LOG_SIZE),
    ("change_log_backwards", CHANGE_LOG_BACKWARDS),
    ("trim_change_log", TRIM_CHANGE_LOG),
    ("saved_reads", SAVED_READS),
    ("save_read", SAVE_READ),
    ("delete_read", DELETE_READ),
    ("openings", OPENINGS),
    ("note_opening", RECORD_OPENING),
    ("trim_openings", TRIM_OPENINGS),
    ("owner", OWNER),
    ("note_owner", RECORD_OWNER),
];

/// Statements that need the tables of version 3.
pub(crate) const SINCE_VERSION_3: &[Named] = &[
    ("meta", META),
    ("set_meta", SET_META),
    ("lineage", LINEAGE),
    ("record_lineage", RECORD_LINEAGE),
    ("trim_lineage", TRIM_LINEAGE),
    ("cleanup_tasks", CLEANUP_TASKS),
    ("count_cleanup_tasks", COUNT_CLEANUP_TASKS),
    ("lowest_cleanup_task", LOWEST_CLEANUP_TASK),
    ("insert_cleanup_task", INSERT_CLEANUP_TASK),
    ("delete_cleanup_task", DELETE_CLEANUP_TASK),
    ("drop_cleanup_task", DROP_CLEANUP_TASK),
    ("trusted_storage", TRUSTED_STORAGE),
    ("set_trusted_storage", SET_TRUSTED_STORAGE),
    ("delete_trusted_storage", DELETE_TRUSTED_STORAGE),
];

/// Statements that need the tables of version 4.
pub(crate) const SINCE_VERSION_4: &[Named] =
    &[("stamp", STAMP), ("set_stamp", SET_STAMP), ("last_read_of", LAST_READ_OF)];

/// Statements that need the column of version 5.
pub(crate) const SINCE_VERSION_5: &[Named] = &[
    ("definition", DEFINITION),
    ("scan", SCAN),
    ("insert_definition", INSERT_DEFINITION),
    ("delete_definition", DELETE_DEFINITION),
    ("block_of", BLOCK_OF),
    ("delete_block", DELETE_BLOCK),
];

/// Statements that need the index tables.
pub(crate) const WITH_DISK_INDEXES: &[Named] = &[
    ("entry", ENTRY),
    ("record", RECORD),
    ("handle_for", HANDLE_FOR),
    ("handles_for_relations", HANDLES_FOR_RELATION),
    ("insert_handle", INSERT_HANDLE),
    ("insert_key", INSERT_KEY),
    ("insert_relation", INSERT_RELATION),
    ("delete_handle", DELETE_HANDLE),
    ("delete_key", DELETE_KEY),
    ("delete_relation", DELETE_RELATION),
    ("count_handles", COUNT_HANDLES),
    ("count_keys", COUNT_KEYS),
    ("count_relations", COUNT_RELATIONS),
];
