//! The inspector: what an operator sees of a stack that it does not own.

use std::time::Duration;

use shape_meta_core::{
    Error, ErrorKind, ScanItem, Seq, ShapeStore, SnapshotState, Stamp, StampCheck, Timestamp, conformance,
};
use shape_meta_postgres::{DiskIndexes, PostgresInspector, PostgresOptions, Verifier};

use crate::support::{Schema, add, apply, fill, remove};

fn inspector(schema: &Schema) -> PostgresInspector {
    try_open(schema, "stack").expect("it opens")
}

fn try_open(schema: &Schema, stack: &str) -> Result<PostgresInspector, Error> {
    PostgresInspector::open(&schema.pool, stack, PostgresOptions::default().schema(&*schema.name))
}

fn scanned(inspector: &PostgresInspector) -> Vec<Result<ScanItem, Error>> {
    let mut items = Vec::new();
    let collect = |item| {
        items.push(item);
        true
    };
    inspector.scan(collect).expect("it reads");
    items
}

fn verified(inspector: &PostgresInspector) -> Vec<String> {
    let mut problems = Vec::new();
    let report = inspector.verify(None, &mut |problem| problems.push(problem)).expect("it reads");
    assert_eq!(report.problems, problems.len() as u64);
    problems
}

#[test]
fn c11_an_inspector_shows_a_stack_and_disturbs_no_owner() {
    let Some(schema) = Schema::new() else { return };
    let stamp = Stamp::new(7, "source");
    let store = schema.open_with("stack", schema.options().stamp(StampCheck::new(stamp.clone())));
    // More than one page of entries and of records.
    fill(&store, 1..=6_000);
    apply(&store, 6_003, [add(6_001, SnapshotState::Pending), remove(3)]);
    store
        .last_read_store()
        .expect("it has one")
        .save(&[(Seq::new(5), Timestamp::from_micros(9))])
        .expect("saves");
    let before = schema.query("SELECT xmin::text || ctid::text FROM @stack ORDER BY id");

    let inspector = inspector(&schema);
    let summary = inspector.summary(2).expect("reads");
    assert_eq!((summary.counts.total, summary.states), (6_000, [1, 0, 5_999]));
    assert_eq!((summary.epoch, summary.last_seq, summary.cleanup_tasks), (1, Seq::new(6_003), 1));
    assert_eq!((summary.stamp, summary.disk_indexes), (Some(stamp), DiskIndexes::Maintained));
    assert_eq!(summary.oldest.map(|(id, _)| id.get()), Some(1));
    assert_eq!(summary.newest.map(|(id, _)| id.get()), Some(6_001));
    let owner = summary.owner.expect("it is open");
    assert_eq!(owner.process, Some(std::process::id()));
    assert!(owner.lease.is_some_and(|lease| lease <= Duration::from_secs(10)), "{owner:?}");
    assert!(summary.top_relations.len() <= 2 && summary.damaged_rows == 0 && !summary.is_storage_trusted);
    assert!(summary.table_bytes > 0);

    let items = scanned(&inspector);
    let numbers: Vec<_> =
        items.iter().map(|item| item.as_ref().expect("sound").metadata.created.get()).collect();
    assert_eq!(numbers, (1..=6_001).filter(|number| *number != 3).collect::<Vec<_>>());
    let reads: Vec<_> = items.iter().flatten().filter_map(|item| item.metadata.last_read).collect();
    assert_eq!(reads, [Timestamp::from_micros(9)], "an opening counts as no read");
    let found = inspector.find(conformance::handle(5).as_str()).expect("reads").expect("it is there");
    assert_eq!(found.metadata.last_read, Some(Timestamp::from_micros(9)));
    assert!(inspector.find("absent\0").expect("reads").is_none());
    assert_eq!(verified(&inspector), Vec::<String>::new());

    let stored = [conformance::handle(1).as_str().to_owned(), "orphan".into()];
    let mut orphans = Vec::new();
    let missing = inspector.orphans(stored.map(Ok), |orphan| orphans.push(orphan)).expect("reads");
    assert_eq!((orphans, missing.len()), (vec!["orphan".to_owned()], 5_999));
    let after = schema.query("SELECT xmin::text || ctid::text FROM @stack ORDER BY id");
    assert_eq!(before, after, "nothing was written");
    fill(&store, 6_010..=6_011);
}

#[test]
fn c11_all_stacks_are_listed_with_their_owners() {
    let Some(schema) = Schema::new() else { return };
    let options = PostgresOptions::default().schema(&*schema.name);
    let error = PostgresInspector::stacks(&schema.pool, &options).expect_err("there are no tables");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let open = schema.open("b");
    fill(&open, 1..=3);
    schema.open("a").close();
    let gone = schema.open("c");
    schema.execute("UPDATE @process SET lease_until = now() - interval '1 s'");
    schema.execute("UPDATE @stack SET total = 7 WHERE name = 'c'");
    let stacks = PostgresInspector::stacks(&schema.pool, &options).expect("reads");
    let seen: Vec<_> = stacks
        .iter()
        .map(|stack| {
            let total = stack.state.as_ref().map(|state| state.counts.total).ok();
            let alive = stack.owner.as_ref().map(|owner| owner.lease.is_some());
            (stack.name.as_str(), total, alive)
        })
        .collect();
    // The lease may be renewed meanwhile.
    assert_eq!((seen[0], seen[1].0, seen[1].1, seen[2].1), (("a", Some(0), None), "b", Some(3), None));
    assert!(seen[1].2.is_some());
    let damage = stacks[2].state.as_ref().expect_err("its checksum does not match");
    assert_eq!(damage.kind(), ErrorKind::Corrupt);
    assert_eq!(try_open(&schema, "absent").expect_err("there is none").kind(), ErrorKind::NotFound);
    drop(gone);
}

#[test]
fn c11_a_verification_finds_each_kind_of_damage() {
    let Some(schema) = Schema::new() else { return };
    let damages = [
        ("UPDATE @shape SET hash = 0 WHERE id = 2", "shape 2 is damaged"),
        ("UPDATE @definition SET body = 'x' WHERE id = 3", "shape 3 is damaged: its definition"),
        ("DELETE FROM @definition WHERE id = 4", "shape 4 is damaged: its definition is missing"),
        ("DELETE FROM @shape WHERE id = 5", "1 definitions have no shape"),
        ("DELETE FROM @shape WHERE id = 5", "the stored counts are 20 shapes"),
        ("DELETE FROM @handle_lookup WHERE id = 6", "shape 6 is missing in handle_lookup"),
        ("DELETE FROM @key_lookup WHERE id = 6", "shape 6 is missing in key_lookup"),
        ("DELETE FROM @relation_lookup WHERE id = 6", "shape 6 is missing in relation_lookup"),
        ("INSERT INTO @key_lookup SELECT id, 1, 99 FROM @stack", "key_lookup has 1 surplus rows"),
        ("UPDATE @cleanup SET handle = 'x'", "cleanup task 1 is damaged"),
        (
            "UPDATE @change_log SET checksum = checksum + 1 WHERE through = 22",
            "sequence number 22 is damaged",
        ),
        ("UPDATE @stamp SET version = 2", "a row of `stamp` is damaged"),
    ];
    for (at, (damage, expected)) in damages.into_iter().enumerate() {
        let other = Schema::of(crate::server::shared().expect("there is one"));
        let stamp = StampCheck::new(Stamp::new(1, "source"));
        let store = other.open_with("stack", other.options().stamp(stamp));
        fill(&store, 1..=21);
        apply(&store, 22, [remove(1)]);
        let inspector = inspector(&other);
        assert_eq!(verified(&inspector), Vec::<String>::new());
        other.execute(damage);
        let problems = verified(&inspector);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{at} {damage}: {problems:?}");
        let errors = scanned(&inspector).into_iter().filter(Result::is_err).count();
        assert_eq!(errors, usize::from((0..=4).contains(&at)), "{damage}");
    }
    let store = schema.open("stack");
    fill(&store, 1..=3);
    let inspector = inspector(&schema);
    let mut problems = Vec::new();
    let verifier = Verifier::new(|record| record.entry.created() != Seq::new(2));
    inspector.verify(Some(&verifier), &mut |problem| problems.push(problem)).expect("reads");
    assert_eq!(problems.len(), 1, "{problems:?}");
    schema.execute("DELETE FROM @shape WHERE id = 2");
    let error = inspector.orphans([], |_| {}).expect_err("its handle is unknown");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
