//! Who may clean: the owner of the database, and no one else.

use shape_meta::{ErrorKind, OnLiveOwner, StoreControl};
use shape_meta_harness::compositions::{ALL, TIMEOUT, directory, sqlite};

use super::support::{Storage, add, builder, clean, cleaned, flush, handles, open, remove, settle};

#[test]
fn c12_a_fenced_owner_cleans_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let fenced = open(composition, directory.path(), &storage);
        add(&fenced, &storage, 1..=2);
        remove(&fenced, [1]);
        flush(&fenced);
        let options = sqlite().on_live_owner(OnLiveOwner::Fence);
        let owner = builder(composition, &storage).sqlite(options).open(directory.path()).expect("it opens");
        let error = fenced.clean_once().expect_err("it has lost the ownership");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{composition:?}");
        assert_eq!(cleaned(&storage), handles([]));
        clean(&owner);
        assert_eq!(storage.stored(), handles([2]));
    }
}

#[test]
fn c12_a_promoted_standby_hands_over_what_the_owner_left() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let owner = open(composition, directory.path(), &storage);
        settle(&owner);
        add(&owner, &storage, 1..=4);
        remove(&owner, [1]);
        flush(&owner);
        let standby = builder(composition, &storage).open_standby(directory.path()).expect("it opens");
        // Its add is lost with the process of the owner.
        if composition.buffer.is_some() {
            add(&owner, &storage, [5]);
        }
        let promoted = standby.promote(OnLiveOwner::Fence).expect("it takes over");
        storage.watch(&promoted);
        settle(&promoted);
        assert_eq!(storage.stored(), handles([2, 3, 4]), "{composition:?}");
        remove(&promoted, [2]);
        settle(&promoted);
        assert_eq!(storage.stored(), handles([3, 4]));
        drop(owner);
        assert!(promoted.close(TIMEOUT).is_complete());
    }
}
