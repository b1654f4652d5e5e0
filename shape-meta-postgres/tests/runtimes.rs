//! Calls from inside of asynchronous runtimes, and the life of the thread.

use shape_meta_core::{ReadShapes, ReadShapesExt, SnapshotState, conformance};

use crate::support::{self, Schema, add, apply, fill, live, wait_until};

/// Nothing panics inside of a runtime, neither calls nor drops.
#[test]
fn c14_a_store_works_inside_of_every_kind_of_runtime() {
    let Some(schema) = Schema::new() else { return };
    let current = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it starts");
    let (schema, store) = current.block_on(async {
        let store = schema.open("stack");
        fill(&store, 1..=100);
        assert_eq!(store.scan().expect("it opens").count(), 100);
        let local = support::pool(shape_meta_testing_postgres::shared().expect("there is a server"));
        drop(support::open(&local, "another", schema.options()).expect("it opens"));
        drop(local);
        (schema, store)
    });
    drop(current);
    // A store outlives the runtime in which it was opened.
    apply(&store, 101, [add(101, SnapshotState::Pending)]);
    let blocking = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let found = blocking.block_on(async { store.has_handle(&conformance::handle(101)) });
    assert!(found.expect("reads"));
    blocking.block_on(async move {
        assert_eq!(live(&store).len(), 101);
        store.close();
        assert_eq!(store.last_seq().expect_err("it is closed").kind(), shape_meta_core::ErrorKind::Closed);
        drop(store);
    });
    drop(schema);
}

#[test]
fn c10_idle_and_dropped_pools_close_their_connections() {
    let Some(schema) = Schema::new() else { return };
    let connection = shape_meta_testing_postgres::shared().expect("there is a server");
    let name = support::unique("application");
    let options = support::pool_options(&format!("{connection} application_name={name}"))
        .idle_timeout(std::time::Duration::from_millis(20));
    let pool = shape_meta_postgres::PostgresPool::new(options).expect("the thread starts");
    let sessions = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'");
    let store = support::open(&pool, "stack", schema.options()).expect("it opens");
    fill(&store, 1..=1);
    // That one may be opened after the others are idle.
    wait_until("only the one that renews the lease is left", || {
        schema.query(&sessions).len() == 1 && (pool.usage().idle, pool.usage().used) == (0, 0)
    });
    fill(&store, 2..=2);
    assert_eq!(live(&store), [1, 2]);
    drop((store, pool));
    wait_until("the last connection is closed", || schema.query(&sessions).is_empty());
}

/// Stores of one pool share its few connections.
#[test]
fn c7_many_threads_and_stores_share_a_pool() {
    let Some(schema) = Schema::new() else { return };
    let stores: Vec<_> = (0..8).map(|number| schema.open(&number.to_string())).collect();
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                for number in 1..=10 {
                    fill(store, number..=number);
                    assert!(store.has_handle(&conformance::handle(number)).expect("reads"));
                }
            });
            scope.spawn(move || {
                let mut seen = 0;
                while seen < 10 {
                    let now = store.counts().expect("reads").total;
                    assert!(now >= seen, "reads never go back");
                    seen = now;
                }
            });
        }
    });
    assert!(stores.iter().all(|store| live(store).len() == 10));
    wait_until("all connections are returned", || schema.pool.usage().used == 0);
    assert!(schema.pool.usage().idle <= schema.pool.usage().max);
}
