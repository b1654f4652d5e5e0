//! All statements that run more than once, for one schema.

use std::sync::Arc;

use crate::{
    config::SchemaName,
    format::{
        row::{definition_columns, entry_columns},
        stack_row::stack_columns,
    },
};

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        /// The statements. `@` stands for our schema, `$1` is the number of the stack unless it says
        /// otherwise.
        #[derive(Debug)]
        pub(crate) struct Statements {
            $($(#[$doc])* pub(crate) $name: Arc<str>,)*
        }

        impl Statements {
            pub(crate) fn of(schema: &SchemaName) -> Self {
                Self { $($name: schema.qualify($text),)* }
            }

            /// The statements that insert look-ups.
            pub(crate) fn inserts(&self) -> [&Arc<str>; 3] {
                [&self.insert_handles, &self.insert_keys, &self.insert_relations]
            }

            /// The statements that delete look-ups.
            pub(crate) fn deletes(&self) -> [&Arc<str>; 3] {
                [&self.delete_handles, &self.delete_keys, &self.delete_relations]
            }

            /// The statements that return the ids of missing look-ups, with the names of their tables.
            pub(crate) fn missing_lookups(&self) -> [(&'static str, &Arc<str>); 3] {
                [
                    ("handle_lookup", &self.missing_handles),
                    ("key_lookup", &self.missing_keys),
                    ("relation_lookup", &self.missing_relations),
                ]
            }

            /// The statements that count look-ups, with the names of their tables.
            pub(crate) fn counted_lookups(&self) -> [(&'static str, &Arc<str>); 3] {
                [
                    ("handle_lookup", &self.count_handles),
                    ("key_lookup", &self.count_keys),
                    ("relation_lookup", &self.count_relations),
                ]
            }

            /// Returns all of them with their names.
            #[cfg(test)]
            pub(crate) fn all(&self) -> Vec<(&'static str, &str)> {
                vec![$((stringify!($name), &*self.$name),)*]
            }
        }
    };
}

/// Where a table is: it has another place in a dump that was restored.
macro_rules! place {
    () => {
        "stack.tableoid::bigint::text || '.' ||
        (SELECT oid::bigint::text FROM pg_catalog.pg_database WHERE datname = current_database())"
    };
}

/// Writes the new state of a stack, if it is ours and as it was. Names the row `written`.
macro_rules! write_stack {
    () => {
        "WITH written AS (
            UPDATE @stack SET last_seq = $2, total = $3, indexed = $4, checksum = $5
            WHERE id = $1 AND epoch = $6 AND opening_id = $7 AND last_seq = $8 RETURNING id)"
    };
}

/// The look-ups that are not in a table, whose column this is.
macro_rules! missing_lookups {
    ($table:literal, $column:literal) => {
        concat!(
            "SELECT wanted.id FROM unnest($2::bigint[], $3::bigint[]) AS wanted (value, id)
            WHERE NOT EXISTS (SELECT 1 FROM @",
            $table,
            " AS lookup
                WHERE lookup.stack = $1 AND lookup.",
            $column,
            " = wanted.value AND lookup.id = wanted.id)"
        )
    };
}

/// The columns of `stack` with its name before them: another table of the statement has an id, too.
macro_rules! listed_columns {
    () => {
        "stack.last_seq, stack.total, stack.indexed, stack.epoch, stack.database_id, stack.opening_id,
        stack.checksum, stack.has_lookups, stack.id"
    };
}

/// Who owned a stack last: whether it has not closed it, since when in microseconds, and the process with the
/// rest of its lease in seconds.
macro_rules! owner_columns {
    () => {
        "stack.owner IS NOT NULL, (extract(epoch FROM stack.owned_since) * 1000000)::bigint,
        process.address, process.host, process.pid,
        extract(epoch FROM process.lease_until - clock_timestamp())::float8"
    };
}

statements! {
    /// Without parameters. Locks the row, so that no migration runs meanwhile.
    version: "SELECT version FROM @format WHERE id = 1 FOR SHARE";
    /// Without parameters. For a reader, which a standby server may serve.
    version_unlocked: "SELECT version FROM @format WHERE id = 1";
    stack: concat!("SELECT ", stack_columns!(), " FROM @stack WHERE id = $1");
    /// `$1` is the name. Locks the row.
    stack_by_name: concat!("SELECT ", stack_columns!(), ", owner FROM @stack WHERE name = $1 FOR UPDATE");
    /// `$1` is the name.
    stack_by_name_unlocked: concat!("SELECT ", stack_columns!(), " FROM @stack WHERE name = $1");
    /// Every transaction that writes begins with it: they run one after the other.
    lock_stack: concat!("SELECT ", stack_columns!(), " FROM @stack WHERE id = $1 FOR UPDATE");
    /// `$1` is the name.
    insert_stack: "
        INSERT INTO @stack (name, last_seq, total, indexed, epoch, database_id, opening_id, checksum, has_lookups,
            owned_since)
        VALUES ($1, 0, 0, 0, 0, $2, $3, 0, $4, now())
        ON CONFLICT (name) DO NOTHING RETURNING id";
    /// Makes the caller the owner.
    own_stack: "
        UPDATE @stack SET epoch = $2, opening_id = $3, checksum = $4, has_lookups = $5, owner = $6,
            owned_since = now()
        WHERE id = $1 AND epoch = $2::bigint - 1";
    /// Gives an ownership up. `$2` and `$3` are its epoch and opening.
    release_stack: "UPDATE @stack SET owner = NULL WHERE id = $1 AND epoch = $2 AND opening_id = $3";
    /// Who owns the stack now, and until when, in seconds from now. Without an owner there is no address.
    owner: "
        SELECT stack.epoch, process.address, process.host, process.pid,
            extract(epoch FROM process.lease_until - clock_timestamp())::float8, stack.last_seq
        FROM @stack AS stack LEFT JOIN @process AS process ON process.id = stack.owner WHERE stack.id = $1";
    /// `$1` are stacks.
    look_at_stacks: "
        SELECT stack.id, stack.epoch, stack.last_seq,
            extract(epoch FROM process.lease_until - clock_timestamp())::float8
        FROM @stack AS stack LEFT JOIN @process AS process ON process.id = stack.owner
        WHERE stack.id = ANY($1)";
    /// `$1` is a process. Locks the row, so that a renewal in progress decides first.
    lock_process: "
        SELECT address, host, pid, extract(epoch FROM lease_until - clock_timestamp())::float8
        FROM @process WHERE id = $1 FOR SHARE";
    /// Begins a lease. `$1` is the process, `$5` the length in seconds.
    begin_lease: "
        INSERT INTO @process (id, address, host, pid, lease_until)
        VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
        ON CONFLICT (id) DO UPDATE SET lease_until = greatest(process.lease_until, EXCLUDED.lease_until)";
    /// Renews a lease that has not run out. `$1` is the process. Returns whether it has, and the number of
    /// stacks that the process owns.
    renew_lease: "
        WITH renewed AS (
            UPDATE @process SET lease_until = clock_timestamp() + make_interval(secs => $2)
            WHERE id = $1 AND lease_until > clock_timestamp() RETURNING 1)
        SELECT (SELECT count(*) FROM renewed), (SELECT count(*) FROM @stack WHERE owner = $1)";
    /// `$1` is a process. Locks the rows, so that an opening in progress decides first, but for those of the
    /// openings `$2`.
    owned_openings: "SELECT opening_id FROM @stack WHERE owner = $1 AND opening_id <> ALL($2) FOR SHARE";
    /// `$1` is a process. An opening in progress has locked its row if it has begun the lease anew.
    lock_lease: "SELECT 1 FROM @process WHERE id = $1 FOR UPDATE";
    /// Ends a lease, after `lock_lease`: a statement that has to wait for a lock does not see the stacks that
    /// were opened meanwhile. `$1` is the process.
    end_lease: "
        DELETE FROM @process WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM @stack WHERE owner = $1)";
    /// Deletes the processes without a lease for a day, none of which is missed, except those at which other
    /// openings look now: each of these may be about to delete what the other one looks at. Without
    /// parameters.
    forget_processes: "
        DELETE FROM @process WHERE id IN (
            SELECT id FROM @process WHERE lease_until < clock_timestamp() - interval '1 day'
            FOR UPDATE SKIP LOCKED)";
    /// The last statement of a batch. Divides by zero if the stack is not ours, or not as it was: the commit
    /// is sent before its answer is known.
    set_stack: concat!(write_stack!(), " SELECT 1 / count(*) FROM written");
    /// The only statement of a small batch that adds new shapes to a stack without look-ups, with the
    /// condition of `set_stack`.
    add_and_set_stack: concat!(
        write_stack!(),
        ",
        added AS (
            INSERT INTO @shape (stack, id, handle, key, hash, state, indexed, relations, checksum, created_at)
            SELECT $1, new.* FROM unnest($9::bigint[], $10::text[], $11::bytea[], $12::bigint[], $13::smallint[],
                $14::boolean[], $15::bytea[], $16::bigint[], $17::bigint[]) AS new),
        defined AS (
            INSERT INTO @definition (stack, id, dependencies, body, checksum)
            SELECT $1, new.* FROM unnest($18::bigint[], $19::bytea[], $20::bytea[], $21::bigint[]) AS new)
        SELECT 1 / count(*) FROM written"
    );
    lineage: "SELECT epoch, opening_id, began_at, opened, checksum FROM @lineage WHERE stack = $1 ORDER BY epoch";
    insert_lineage: "
        INSERT INTO @lineage (stack, epoch, opening_id, began_at, opened, checksum)
        VALUES ($1, $2, $3, $4, $5, $6)";
    trim_lineage: "
        DELETE FROM @lineage WHERE stack = $1 AND epoch <= (
            SELECT epoch FROM @lineage WHERE stack = $1 ORDER BY epoch DESC LIMIT 1 OFFSET $2)";

    entry: concat!(
        "SELECT ", entry_columns!(), " FROM @handle_lookup AS lookup
        JOIN @shape AS shape ON shape.stack = lookup.stack AND shape.id = lookup.id
        WHERE lookup.stack = $1 AND lookup.hash = $2 AND shape.handle = $3"
    );
    record: concat!(
        "SELECT ", entry_columns!(), ", ", definition_columns!(), " FROM @handle_lookup AS lookup
        JOIN @shape AS shape ON shape.stack = lookup.stack AND shape.id = lookup.id
        LEFT JOIN @definition AS definition ON definition.stack = shape.stack AND definition.id = shape.id
        WHERE lookup.stack = $1 AND lookup.hash = $2 AND shape.handle = $3"
    );
    handle_for: concat!(
        "SELECT ", entry_columns!(), " FROM @key_lookup AS lookup
        JOIN @shape AS shape ON shape.stack = lookup.stack AND shape.id = lookup.id
        WHERE lookup.stack = $1 AND lookup.hash = $2 AND shape.key = $3"
    );
    handles_for_relations: concat!(
        "SELECT ", entry_columns!(), " FROM @relation_lookup AS lookup
        JOIN @shape AS shape ON shape.stack = lookup.stack AND shape.id = lookup.id
        WHERE lookup.stack = $1 AND lookup.relation = ANY($2)"
    );
    /// The definition of a shape. No row if the shape is gone, or its definition is missing.
    definition: concat!(
        "SELECT ", definition_columns!(), " FROM @definition AS definition
        WHERE definition.stack = $1 AND definition.id = $2"
    );
    /// The same, of a live shape: its columns are null if the definition is missing.
    definition_of_live: concat!(
        "SELECT ", definition_columns!(), " FROM @shape AS shape
        LEFT JOIN @definition AS definition ON definition.stack = shape.stack AND definition.id = shape.id
        WHERE shape.stack = $1 AND shape.id = $2"
    );
    /// A page of shapes after `$2`.
    shapes_after: concat!(
        "SELECT ", entry_columns!(), " FROM @shape AS shape
        WHERE shape.stack = $1 AND shape.id > $2 ORDER BY shape.id LIMIT $3"
    );
    /// The same with definitions.
    records_after: concat!(
        "SELECT ", entry_columns!(), ", ", definition_columns!(), " FROM @shape AS shape
        LEFT JOIN @definition AS definition ON definition.stack = shape.stack AND definition.id = shape.id
        WHERE shape.stack = $1 AND shape.id > $2 ORDER BY shape.id LIMIT $3"
    );
    incomplete: concat!(
        "SELECT ", entry_columns!(), " FROM @shape AS shape
        WHERE shape.stack = $1 AND shape.state <> 3 ORDER BY shape.id"
    );
    handles_of: "SELECT id, handle FROM @shape WHERE stack = $1 AND id = ANY($2)";
    handles_after: "
        SELECT id, handle FROM @shape WHERE stack = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4";

    copy_shapes: "
        COPY @shape (stack, id, handle, key, hash, state, indexed, relations, checksum, created_at)
        FROM STDIN (FORMAT binary)";
    copy_definitions: "
        COPY @definition (stack, id, dependencies, body, checksum) FROM STDIN (FORMAT binary)";
    insert_shapes: "
        INSERT INTO @shape (stack, id, handle, key, hash, state, indexed, relations, checksum, created_at)
        SELECT $1, new.* FROM unnest($2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::smallint[],
            $7::boolean[], $8::bytea[], $9::bigint[], $10::bigint[]) AS new
        ON CONFLICT DO NOTHING RETURNING id";
    insert_definitions: "
        INSERT INTO @definition (stack, id, dependencies, body, checksum)
        SELECT $1, new.* FROM unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[]) AS new
        ON CONFLICT DO NOTHING";
    delete_shapes: "DELETE FROM @shape WHERE stack = $1 AND id = ANY($2) RETURNING id, indexed";
    delete_definitions: "DELETE FROM @definition WHERE stack = $1 AND id = ANY($2)";
    delete_reads: "DELETE FROM @last_read WHERE stack = $1 AND id = ANY($2)";
    /// A snapshot state only advances.
    mark_shapes: "
        UPDATE @shape AS shape SET state = marked.state, checksum = marked.checksum
        FROM unnest($2::bigint[], $3::smallint[], $4::bigint[]) AS marked (id, state, checksum)
        WHERE shape.stack = $1 AND shape.id = marked.id AND shape.state < marked.state
        RETURNING shape.id, shape.state";

    insert_handles: "
        INSERT INTO @handle_lookup (stack, hash, id)
        SELECT $1, new.hash, new.id FROM unnest($2::bigint[], $3::bigint[]) AS new (hash, id) ON CONFLICT DO NOTHING";
    insert_keys: "
        INSERT INTO @key_lookup (stack, hash, id)
        SELECT $1, new.hash, new.id FROM unnest($2::bigint[], $3::bigint[]) AS new (hash, id) ON CONFLICT DO NOTHING";
    insert_relations: "
        INSERT INTO @relation_lookup (stack, relation, id)
        SELECT $1, new.relation, new.id FROM unnest($2::bigint[], $3::bigint[]) AS new (relation, id)
        ON CONFLICT DO NOTHING";
    delete_handles: "
        DELETE FROM @handle_lookup AS lookup USING unnest($2::bigint[], $3::bigint[]) AS gone (hash, id)
        WHERE lookup.stack = $1 AND lookup.hash = gone.hash AND lookup.id = gone.id";
    delete_keys: "
        DELETE FROM @key_lookup AS lookup USING unnest($2::bigint[], $3::bigint[]) AS gone (hash, id)
        WHERE lookup.stack = $1 AND lookup.hash = gone.hash AND lookup.id = gone.id";
    delete_relations: "
        DELETE FROM @relation_lookup AS lookup USING unnest($2::bigint[], $3::bigint[]) AS gone (relation, id)
        WHERE lookup.stack = $1 AND lookup.relation = gone.relation AND lookup.id = gone.id";

    clear_shapes: "DELETE FROM @shape WHERE stack = $1";
    clear_definitions: "DELETE FROM @definition WHERE stack = $1";
    clear_reads: "DELETE FROM @last_read WHERE stack = $1";
    clear_handles: "DELETE FROM @handle_lookup WHERE stack = $1";
    clear_keys: "DELETE FROM @key_lookup WHERE stack = $1";
    clear_relations: "DELETE FROM @relation_lookup WHERE stack = $1";

    changes_at: "SELECT changed, checksum FROM @change_log WHERE stack = $1 AND through = $2";
    changes_from: "
        SELECT through, changed, checksum FROM @change_log WHERE stack = $1 AND through >= $2 ORDER BY through";
    set_changes_at: "
        INSERT INTO @change_log (stack, through, changed, checksum) VALUES ($1, $2, $3, $4)
        ON CONFLICT (stack, through) DO UPDATE SET changed = EXCLUDED.changed, checksum = EXCLUDED.checksum";
    change_log_floor: "SELECT through FROM @change_log WHERE stack = $1 ORDER BY through LIMIT 1";
    change_log_size: "
        SELECT coalesce(sum(length(changed) + 16), 0)::bigint FROM @change_log WHERE stack = $1";
    clear_change_log: "DELETE FROM @change_log WHERE stack = $1";
    /// Keeps the newest rows of about `$2` bytes, and the row before them as the floor.
    trim_change_log: "
        DELETE FROM @change_log WHERE stack = $1 AND through < (
            SELECT max(through) FROM (
                SELECT through, sum(length(changed) + 16) OVER (ORDER BY through DESC) AS kept
                FROM @change_log WHERE stack = $1) AS newest
            WHERE kept > $2)";

    reads_after: "SELECT id, at FROM @last_read WHERE stack = $1 AND id > $2 ORDER BY id LIMIT $3";
    /// A time that is later than `$4`, which is now, comes from a clock that was ahead, and is replaced.
    save_reads: "
        INSERT INTO @last_read AS known (stack, id, at)
        SELECT $1, new.id, new.at FROM unnest($2::bigint[], $3::bigint[]) AS new (id, at)
        WHERE EXISTS (SELECT 1 FROM @shape AS shape WHERE shape.stack = $1 AND shape.id = new.id)
        ON CONFLICT (stack, id) DO UPDATE SET at = EXCLUDED.at WHERE EXCLUDED.at > known.at OR known.at > $4";

    insert_tasks: "
        INSERT INTO @cleanup (stack, id, handle, checksum)
        SELECT $1, new.* FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS new ON CONFLICT DO NOTHING";
    tasks_after: "
        SELECT id, handle, checksum FROM @cleanup WHERE stack = $1 AND id > $2 ORDER BY id LIMIT $3";
    count_tasks: "SELECT count(*) FROM @cleanup WHERE stack = $1";
    lowest_task: "SELECT coalesce(min(id), 0) FROM @cleanup WHERE stack = $1";
    delete_tasks: "
        DELETE FROM @cleanup AS task USING unnest($2::bigint[], $3::text[]) AS done (id, handle)
        WHERE task.stack = $1 AND task.id = done.id AND task.handle = done.handle";
    /// Deletes the tasks whose handle a newer shape has, if that shape is stored.
    delete_superseded: "
        DELETE FROM @cleanup AS task
        USING unnest($2::bigint[], $3::text[], $4::bigint[]) AS done (id, handle, newer)
        WHERE task.stack = $1 AND task.id = done.id AND task.handle = done.handle AND EXISTS (
            SELECT 1 FROM @shape AS shape
            WHERE shape.stack = $1 AND shape.id = done.newer AND shape.handle = done.handle)";
    /// Deletes the tasks whose handle a complete shape has.
    delete_superseded_by_complete: "
        DELETE FROM @cleanup AS task USING @shape AS shape
        WHERE task.stack = $1 AND shape.stack = $1 AND shape.handle = task.handle AND shape.state = 3";
    stamp: "SELECT version, source, checksum FROM @stamp WHERE stack = $1";
    set_stamp: "
        INSERT INTO @stamp (stack, version, source, checksum) VALUES ($1, $2, $3, $4)
        ON CONFLICT (stack) DO UPDATE SET version = EXCLUDED.version, source = EXCLUDED.source,
            checksum = EXCLUDED.checksum";
    /// For an inspector: records with their saved last-read times.
    inspected_after: concat!(
        "SELECT ", entry_columns!(), ", ", definition_columns!(), ", last_read.at FROM @shape AS shape
        LEFT JOIN @definition AS definition ON definition.stack = shape.stack AND definition.id = shape.id
        LEFT JOIN @last_read AS last_read ON last_read.stack = shape.stack AND last_read.id = shape.id
        WHERE shape.stack = $1 AND shape.id > $2 ORDER BY shape.id LIMIT $3"
    );
    inspected_by_handle: concat!(
        "SELECT ", entry_columns!(), ", ", definition_columns!(), ", last_read.at FROM @shape AS shape
        LEFT JOIN @definition AS definition ON definition.stack = shape.stack AND definition.id = shape.id
        LEFT JOIN @last_read AS last_read ON last_read.stack = shape.stack AND last_read.id = shape.id
        WHERE shape.stack = $1 AND shape.handle = $2 ORDER BY shape.id LIMIT 1"
    );
    latest_owner: concat!(
        "SELECT ", owner_columns!(), " FROM @stack AS stack
        LEFT JOIN @process AS process ON process.id = stack.owner WHERE stack.id = $1"
    );
    /// A page of all stacks, after the name `$1`.
    stacks: concat!(
        "SELECT ", listed_columns!(), ", stack.name,
        (SELECT count(*) FROM @cleanup AS task WHERE task.stack = stack.id), ", owner_columns!(),
        " FROM @stack AS stack LEFT JOIN @process AS process ON process.id = stack.owner
        WHERE stack.name > $1 ORDER BY stack.name LIMIT $2"
    );
    count_unowned_definitions: "
        SELECT count(*) FROM @definition AS definition WHERE definition.stack = $1 AND NOT EXISTS (
            SELECT 1 FROM @shape AS shape WHERE shape.stack = $1 AND shape.id = definition.id)";
    /// `$2` and `$3` are the look-ups that have to be there.
    missing_handles: missing_lookups!("handle_lookup", "hash");
    missing_keys: missing_lookups!("key_lookup", "hash");
    missing_relations: missing_lookups!("relation_lookup", "relation");
    count_handles: "SELECT count(*) FROM @handle_lookup WHERE stack = $1";
    count_keys: "SELECT count(*) FROM @key_lookup WHERE stack = $1";
    count_relations: "SELECT count(*) FROM @relation_lookup WHERE stack = $1";
    trusted_storage: concat!(
        "SELECT trusted.database_id, trusted.place = ", place!(), " FROM @trusted_storage AS trusted
        JOIN @stack AS stack ON stack.id = trusted.stack WHERE trusted.stack = $1"
    );
    delete_trusted_storage: "DELETE FROM @trusted_storage WHERE stack = $1";
    set_trusted_storage: concat!(
        "INSERT INTO @trusted_storage (stack, database_id, place)
        SELECT $1, $2, ", place!(), " FROM @stack AS stack WHERE stack.id = $1
        ON CONFLICT (stack) DO UPDATE SET database_id = EXCLUDED.database_id, place = EXCLUDED.place"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_every_statement_is_limited_to_our_schema_and_one_stack() {
        let schema = SchemaName::new("ours").expect("valid");
        for (name, text) in Statements::of(&schema).all() {
            assert!(!text.contains('@'), "{name}: {text}");
            assert!(text.contains("\"ours\"."), "{name}: {text}");
            let by_name = ["version", "version_unlocked", "forget_processes"].contains(&name);
            assert!(by_name || text.contains("$1") || text.contains("COPY"), "{name}: {text}");
        }
    }
}
