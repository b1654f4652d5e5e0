//! Extreme values of the options: none panics, and none flips its meaning.

use std::time::Duration;

use shape_meta_core::{ReadShapes, ShapeStore, SnapshotState};
use shape_meta_sqlite::{ConnectionLimit, Mode, OnLiveOwner, SqliteOptions};

use crate::support::{add, batch, directory, open, options};

type Setter = fn(SqliteOptions) -> SqliteOptions;

const EXTREMES: &[(&str, Setter)] = &[
    ("idle_timeout(MAX)", |options| options.idle_timeout(Duration::MAX)),
    ("idle_timeout(0)", |options| options.idle_timeout(Duration::ZERO)),
    ("busy_timeout(MAX)", |options| options.busy_timeout(Duration::MAX)),
    ("busy_timeout(2^31 ms)", |options| options.busy_timeout(Duration::from_millis(1 << 31))),
    ("busy_timeout(0)", |options| options.busy_timeout(Duration::ZERO)),
    ("checkout_timeout(MAX)", |options| options.checkout_timeout(Duration::MAX)),
    ("checkout_timeout(0)", |options| options.checkout_timeout(Duration::ZERO)),
    ("max_readers(1)", |options| options.max_readers(1)),
    ("max_readers(MAX)", |options| options.max_readers(u32::MAX)),
    ("cache_size(MAX)", |options| options.cache_size(u64::MAX)),
    ("cache_size(0)", |options| options.cache_size(0)),
    ("reader_cache_size(MAX)", |options| options.reader_cache_size(u64::MAX)),
    ("reader_cache_size(0)", |options| options.reader_cache_size(0)),
    ("wal_autocheckpoint_bytes(MAX)", |options| options.wal_autocheckpoint_bytes(u64::MAX)),
    ("wal_autocheckpoint_bytes(0)", |options| options.wal_autocheckpoint_bytes(0)),
    ("max_row_bytes(MAX)", |options| options.max_row_bytes(u32::MAX)),
    ("max_row_bytes(4096)", |options| options.max_row_bytes(4_096)),
    ("on_live_owner(Wait(MAX))", |options| options.on_live_owner(OnLiveOwner::Wait(Duration::MAX))),
    ("connection_limit(0)", |options| options.connection_limit(&ConnectionLimit::new(0))),
    ("connection_limit(MAX)", |options| options.connection_limit(&ConnectionLimit::new(u32::MAX))),
];

#[test]
fn c7_extreme_options_neither_panic_nor_flip_their_meaning() {
    for (name, set) in EXTREMES {
        for mode in [Mode::Wal, Mode::Exclusive] {
            let directory = directory();
            for number in 1..=2 {
                let store = open(directory.path(), set(options().mode(mode)));
                let added = store.apply(&batch(number, [add(number, SnapshotState::Complete)]));
                added.unwrap_or_else(|error| panic!("{name}: {error}"));
                let counts = store.counts().unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(counts.total, number, "{name}");
            }
        }
    }
}
