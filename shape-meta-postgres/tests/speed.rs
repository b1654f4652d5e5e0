//! The rate of batches, against a bare copy of the same rows. Run it with a release build:
//! `cargo test --release -p shape-meta-postgres speed -- --ignored --nocapture`.

use std::{
    convert::Infallible,
    error::Error,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::SinkExt;
use shape_meta_core::{
    Batch, Change, Definition, Key, NewShape, OnOtherStamp, Rekey, Relation, Seq, ShapeStore, SnapshotState,
    Stamp, StampCheck, conformance,
};
use shape_meta_postgres::{DiskIndexes, Durability, PostgresPool};

use crate::{
    server,
    support::{self, Schema},
};

const SHAPES: u64 = 300_000;
const BATCH: u64 = 50_000;
const ROUNDS: usize = 3;

/// Records of 500 bytes.
fn add(number: u64) -> Change {
    let definition = format!("{number:0>390}").into_bytes().into();
    let record = NewShape { definition, ..conformance::shape(number) }.record(Seq::new(number));
    Change::Add { record: std::sync::Arc::new(record), state: SnapshotState::Complete }
}

fn batches() -> Vec<Batch> {
    let batch = |first: u64| support::batch(first + BATCH - 1, (first..first + BATCH).map(add));
    (0..SHAPES / BATCH).map(|at| batch(at * BATCH + 1)).collect()
}

#[test]
#[ignore = "it measures"]
fn a_batch_against_a_bare_copy() {
    let Some(cluster) = server::own(&["fsync=on", "max_wal_size=4GB", "shared_buffers=256MB"]) else {
        return;
    };
    let batches = batches();
    let mut schema = Schema::of(&cluster.connection());
    schema.pool = PostgresPool::new(support::pool_options(&cluster.connection())).expect("the thread starts");
    let options = schema
        .options()
        .durability(Durability::FailOver)
        .disk_indexes(DiskIndexes::Omitted)
        .last_reads(false);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let store = schema.open_with(&format!("round {round}"), options.clone());
        let started = Instant::now();
        for batch in &batches {
            store.apply(batch).expect("it applies");
        }
        ours.push(started.elapsed());
        bare.push(bare_copy(&cluster.connection(), &schema, round));
        if round == 0 {
            let started = Instant::now();
            let mut loaded = 0;
            store.load(&mut |_| loaded += 1).expect("it loads");
            println!("load of {loaded}: {:.2?}", started.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let [ours, bare] = [&mut ours, &mut bare].map(median);
    let rate = |took: Duration| SHAPES as f64 / took.as_secs_f64() / 1_000.0;
    println!("apply: {:.0} thousand shapes a second ({ours:.2?})", rate(ours));
    println!("bare COPY BINARY of the same rows: {:.0} thousand ({bare:.2?})", rate(bare));
    println!("ratio {:.2}", bare.as_secs_f64() / ours.as_secs_f64());
    assert_eq!(schema.query("SELECT count(*) FROM @shape"), [(SHAPES * ROUNDS as u64).to_string()]);
}

/// Copies the same bytes into tables of the same form, one transaction for each batch. Encoding them is not
/// measured.
fn bare_copy(connection: &str, schema: &Schema, round: usize) -> Duration {
    schema.execute(&format!(
        "CREATE TABLE @bare_shape_{round} (LIKE @shape INCLUDING ALL); \
         CREATE TABLE @bare_definition_{round} (LIKE @definition INCLUDING ALL)"
    ));
    let copied = |table: &str, first: u64| {
        let copy = format!(
            "COPY (SELECT * FROM \"{}\".{table} WHERE stack = (SELECT max(stack) FROM \"{}\".shape) \
             AND id >= {first} AND id < {} ORDER BY id) TO STDOUT (FORMAT binary)",
            schema.name,
            schema.name,
            first + BATCH
        );
        support::on_connection(connection, async |client| {
            let stream = client.copy_out(&copy).await?;
            futures_util::TryStreamExt::try_collect::<Vec<Bytes>>(stream).await
        })
        .expect("it copies")
    };
    let firsts: Vec<_> = (0..SHAPES / BATCH).map(|at| at * BATCH + 1).collect();
    let data: Vec<_> =
        firsts.iter().map(|first| ["shape", "definition"].map(|table| copied(table, *first))).collect();
    support::on_connection(connection, async |client| {
        let started = Instant::now();
        for tables in &data {
            client.batch_execute("BEGIN").await?;
            for (table, rows) in ["shape", "definition"].iter().zip(tables) {
                let copy =
                    format!("COPY \"{}\".bare_{table}_{round} FROM STDIN (FORMAT binary)", schema.name);
                let sink = client.copy_in(&copy).await?;
                let mut sink = std::pin::pin!(sink);
                // In chunks, as the store sends them.
                let mut chunk = Vec::new();
                for row in rows {
                    chunk.extend_from_slice(row);
                    if chunk.len() > 256 << 10 {
                        sink.send(Bytes::from(std::mem::take(&mut chunk))).await?;
                    }
                }
                sink.send(Bytes::from(chunk)).await?;
                sink.finish().await?;
            }
            client.batch_execute("COMMIT").await?;
        }
        Ok(started.elapsed())
    })
    .expect("it copies")
}

/// A re-key of a million records of 500 bytes, against the open that has none.
#[test]
#[ignore = "it measures"]
fn a_rekey_of_a_million_shapes() {
    const SHAPES: u64 = 1_000_000;
    let Some(cluster) = server::own(&["fsync=on", "max_wal_size=4GB", "shared_buffers=256MB"]) else {
        return;
    };
    let schema = Schema::of(&cluster.connection());
    for disk_indexes in [DiskIndexes::Omitted, DiskIndexes::Maintained] {
        let options = |version, rekey| {
            let check = StampCheck::new(Stamp::new(version, "")).on_other_version(rekey);
            schema.options().durability(Durability::FailOver).disk_indexes(disk_indexes).stamp(check)
        };
        let stack = format!("{disk_indexes:?}");
        let store = schema.open_with(&stack, options(1, OnOtherStamp::Refuse));
        let started = Instant::now();
        for first in (1..=SHAPES).step_by(BATCH as usize) {
            store
                .apply(&support::batch(first + BATCH - 1, (first..first + BATCH).map(add)))
                .expect("it applies");
        }
        let filled = started.elapsed();
        store.close();
        let opened = schema.open_with(&stack, options(1, OnOtherStamp::Refuse)).report().clone();
        let rekeyed = schema.open_with(&stack, options(2, OnOtherStamp::Rekey(rekey()))).report().clone();
        assert_eq!(rekeyed.last_seq, Seq::new(2 * SHAPES));
        println!(
            "{disk_indexes:?}: filled in {filled:.1?}, opened in {:.1?}, re-keyed in {:.1?}",
            opened.took, rekeyed.took
        );
    }
}

/// Gives each definition another byte at its end, and another key.
fn rekey() -> Rekey {
    struct Longer(u64, Vec<u8>);

    impl Definition for Longer {
        type Error = Infallible;

        fn key(&self) -> Key {
            conformance::key(self.0 + 1_000_000_000)
        }

        fn relations(&self) -> Vec<Relation> {
            vec![Relation::new((self.0 % 7) as u32)]
        }

        fn encode(&self) -> Vec<u8> {
            self.1.clone()
        }

        fn decode(_: &[u8]) -> Result<Self, Infallible> {
            Ok(Self(0, Vec::new()))
        }
    }

    Rekey::new(|_, record| {
        let number = str::from_utf8(&record.definition)?.parse()?;
        Ok::<_, Box<dyn Error + Send + Sync>>(Some(Longer(number, [&record.definition[..], b"2"].concat())))
    })
}
