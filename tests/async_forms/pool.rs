//! A pool that many stores share.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use shape_meta::{BlockingOptions, BlockingPool, ShapeMeta, prelude::*};
use shape_meta_core::conformance::{block_on, handle, shape};
use shape_meta_harness::compositions::{DIRECT, WAIT};

use super::ticker::{OnDisk, assert_reached};

type Read = Pin<Box<dyn Future<Output = bool> + Send>>;

fn open(on: &OnDisk, pool: &BlockingPool) -> ShapeMeta {
    let builder = DIRECT.builder().sqlite(OnDisk::options()).blocking_pool(pool);
    let store = builder.open(on.path()).expect("it opens");
    store.add(shape(1), WAIT).expect("it is new");
    store
}

/// Begins reads of the disk.
fn reads(store: &ShapeMeta, count: usize) -> Vec<Read> {
    (0..count)
        .map(|_| {
            let store = store.clone();
            let mut read: Read =
                Box::pin(
                    async move { store.record_async(&handle(1)).await.is_ok_and(|found| found.is_some()) },
                );
            assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            read
        })
        .collect()
}

#[test]
fn c14_a_store_that_hangs_leaves_threads_to_the_others() {
    let pool = BlockingPool::new(BlockingOptions::default().max_threads(5).max_threads_per_store(2));
    let (hanging, working) = ([OnDisk::new(), OnDisk::new()], OnDisk::new());
    let stores = hanging.each_ref().map(|on| open(on, &pool));
    let other = open(&working, &pool);
    let hangs = hanging.each_ref().map(|on| on.disk.hang());
    let waiting: Vec<_> = stores.iter().flat_map(|store| reads(store, 20)).collect();
    hangs.iter().for_each(assert_reached);
    for _ in 0..100 {
        assert!(block_on(other.record_async(&handle(1))).expect("its disk works").is_some());
    }
    let stats = pool.stats();
    assert!(stats.threads <= 5 && stats.busy >= 4, "{stats:?}");
    drop(hangs);
    assert!(waiting.into_iter().all(block_on));
}

#[test]
fn c7_the_threads_of_a_pool_are_bounded() {
    let pool = BlockingPool::new(BlockingOptions::default().max_threads(3).queue_per_store(2));
    let directories: Vec<_> = (0..6).map(|_| OnDisk::new()).collect();
    let stores: Vec<_> = directories.iter().map(|on| open(on, &pool)).collect();
    let hangs: Vec<_> = directories.iter().map(|on| on.disk.hang()).collect();
    // More than the queues take: the others wait as futures.
    let waiting: Vec<_> = stores.iter().flat_map(|store| reads(store, 10)).collect();
    assert_reached(&hangs[0]);
    let stats = pool.stats();
    assert!(stats.threads <= 3, "{stats:?}");
    drop(hangs);
    let results: Vec<_> = waiting.into_iter().map(|read| std::thread::spawn(|| block_on(read))).collect();
    assert!(results.into_iter().all(|result| result.join().expect("no panic")));
}
