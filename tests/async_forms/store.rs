//! Each form of an open store, on each composition.

use std::{
    thread,
    time::{Duration, Instant},
};

use shape_meta::{Check, HandleSet, Keyed, ShapeMeta, prelude::*};
use shape_meta_core::conformance::{handle, key, shape};
use shape_meta_harness::compositions::{ALL, DIRECT, FlushSchedule, PRODUCT, TIMEOUT, WAIT, directory};

use super::ticker::{BoxFuture, Executor, OnDisk};

/// The number of a shape that each database has.
const SHAPE: u64 = 1;

type Form = (&'static str, fn(ShapeMeta) -> BoxFuture<bool>);

/// The definition of that shape, as a request has it.
struct Sample;

impl Definition for Sample {
    type Error = std::convert::Infallible;

    fn key(&self) -> Key {
        key(SHAPE)
    }

    fn relations(&self) -> Vec<Relation> {
        Vec::new()
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(_: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

fn keyed() -> Keyed<Sample> {
    Keyed::new(Sample)
}

/// A form of its name, which returns whether its answer was right.
macro_rules! form {
    ($name:expr, $store:ident => $answer:expr) => {
        ($name, |$store: ShapeMeta| Box::pin(async move { $answer }) as BoxFuture<bool>)
    };
}

/// The reads.
const READS: &[Form] = &[
    form!("metadata", store => store.metadata_async(&handle(SHAPE)).await.is_ok_and(|found| found.is_some())),
    form!("handle_for", store => store.handle_for_async(&key(SHAPE)).await.is_ok_and(|found| found.is_some())),
    form!("handles_for_relations", store => {
        let handles = store.handles_for_relations_async(&shape(SHAPE).relations).await;
        handles.is_ok_and(|handles| handles.len() == 1)
    }),
    form!("touch", store => store.touch_async(&handle(SHAPE), Timestamp::now()).await.is_ok_and(|live| live)),
    form!("check", store => {
        let checked = store.check_async(&handle(SHAPE), &keyed()).await;
        checked.is_ok_and(|checked| checked.live().is_some())
    }),
    form!("check_and_touch", store => {
        let checked = store.check_and_touch_async("unknown", &keyed(), Timestamp::now()).await;
        checked.is_ok_and(|checked| checked == Check::Unknown(Some(handle(SHAPE))))
    }),
    form!("wait_for", store => store.wait_for(&handle(SHAPE), SnapshotState::Complete).await.is_ok()),
    form!("record", store => store.record_async(&handle(SHAPE)).await.is_ok_and(|found| found.is_some())),
    form!("counts", store => store.counts_async().await.is_ok_and(|counts| counts.total == 1)),
    form!("last_seq", store => store.last_seq_async().await.is_ok_and(|seq| seq.get() > 0)),
    form!("least_recently_used", store => {
        let used = store.least_recently_used_async(10, HandleSet::new()).await;
        used.is_ok_and(|used| used.shapes.len() == 1)
    }),
    form!("scan", store => {
        let mut scan = store.scan_async();
        matches!(scan.next().await, Some(Ok(_))) && scan.next().await.is_none()
    }),
    form!("list", store => store.list_async().await.is_ok_and(|shapes| shapes.len() == 1)),
    form!("orphans", store => {
        let missing = store.orphans_async(vec![handle(SHAPE)], |_| panic!("it is live")).await;
        missing.is_ok_and(|missing| missing.is_empty())
    }),
    form!("run_blocking", store => {
        let record = store.run_blocking(|store| store.record(&handle(SHAPE))).await;
        record.is_ok_and(|record| record.is_ok_and(|record| record.is_some()))
    }),
];

/// The mutations and the control, in an order in which each is possible.
const CHANGES: &[Form] = &[
    form!("get_or_add of a live key", store => {
        store.get_or_add_async(&shape(SHAPE)).await.is_ok_and(|found| !found.added)
    }),
    form!("get_or_add", store => store.get_or_add_async(&shape(2)).await.is_ok_and(|made| made.added)),
    form!("get_or_add_with", store => {
        let made = store.get_or_add_with_async(&key(3), || shape(3)).await;
        made.is_ok_and(|made| made.added && made.handle == handle(3))
    }),
    form!("add", store => store.add_async(shape(4)).await.is_ok()),
    form!("mark_snapshot_started", store => store.mark_snapshot_started_async(&handle(4)).await.is_ok()),
    form!("mark_snapshot_complete", store => store.mark_snapshot_complete_async(&handle(4)).await.is_ok()),
    form!("durable", store => match store.add_async(shape(5)).await {
        Ok(receipt) => receipt.durable().await.is_ok(),
        Err(_) => false,
    }),
    form!("flush", store => store.add_async(shape(6)).await.is_ok() && store.flush_async().await.is_ok()),
    form!("remove", store => store.remove_async(&handle(4)).await.is_ok()),
    form!("pause", store => {
        let paused = store.pause_async().await;
        store.resume();
        paused.is_ok()
    }),
    form!("backup", store => {
        let directory = directory();
        let progress = |_| std::ops::ControlFlow::Continue(());
        store.backup_async(directory.path().join("backup"), progress).await.is_ok()
    }),
    form!("repair", store => store.repair_async().await.is_ok()),
    form!("reset", store => store.reset_async().await.is_ok()),
    form!("close", store => {
        let report = store.close_async(TIMEOUT).await;
        report.is_complete() && report.error.is_none()
    }),
];

#[test]
fn c14_no_form_of_a_store_blocks_the_executor() {
    for composition in ALL {
        let on = OnDisk::new();
        let store = on.open(composition);
        store.add(shape(SHAPE), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(SHAPE), WAIT).expect("it is live");
        store.touch_now(&handle(SHAPE)).expect("in memory");
        store.flush(TIMEOUT).expect("the disk works");
        for (name, form) in READS.iter().chain(CHANGES) {
            let (is_right, has_hung) = on.run(&format!("{name} of {composition:?}"), form(store.clone()));
            assert!(is_right, "{name} of {composition:?}");
            // Otherwise it would prove nothing.
            let is_in_memory = ["counts", "last_seq", "least_recently_used", "pause", "flush"].contains(name);
            assert!(
                has_hung || is_in_memory || composition.cache.is_some() || composition.buffer.is_some(),
                "{name}"
            );
        }
        drop(store);
        // The close has released the ownership.
        drop(on.open(DIRECT));
    }
}

/// A store without a flusher has no thread that serves a request.
#[test]
fn c14_a_flush_without_a_flusher_runs_on_a_thread_of_the_store() {
    let on = OnDisk::new();
    let store = on.open(PRODUCT.with_flush_schedule(FlushSchedule::Manual));
    let receipt = store.add(shape(1), WAIT).expect("it is new");
    let flushed = store.clone();
    let (outcome, has_hung) = on.run("flush", async move { flushed.flush_async().await });
    outcome.expect("the disk works");
    assert!(has_hung && receipt.is_durable());
}

#[test]
fn c14_an_open_does_not_block_the_executor() {
    for composition in ALL {
        let on = OnDisk::new();
        let path = on.path().to_owned();
        let open = async move {
            let builder = composition.builder().sqlite(OnDisk::options());
            let store = builder.open_async(path).await?;
            store.add_async(shape(1)).await.map(drop).expect("it is new");
            store.close_async(TIMEOUT).await;
            Ok::<_, shape_meta::Error>(())
        };
        let (opened, has_hung) = on.run("open", open);
        opened.expect("it opens");
        assert!(has_hung);
    }
}

/// The time-out of a close holds, although all threads for calls hang.
#[test]
fn c10_a_close_as_a_future_does_not_wait_for_other_calls() {
    let on = OnDisk::new();
    let store = on.open(DIRECT);
    store.add(shape(1), WAIT).expect("it is new");
    let hang = on.disk.hang();
    let executor = Executor::start(async move {
        let reads: Vec<_> = (0..16)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.record_async(&handle(1)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let report = store.close_async(Duration::from_millis(10)).await;
        (report, reads)
    });
    let begun = Instant::now();
    while !executor.is_finished() && begun.elapsed() < TIMEOUT {
        thread::yield_now();
    }
    assert!(executor.is_finished(), "the close waits for the reads");
    drop(hang);
    let (report, _) = executor.join();
    assert!(report.is_complete(), "{report:?}");
}
